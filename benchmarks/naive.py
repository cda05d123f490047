"""`python -m benchmarks.naive`: the straightforward worker, to compare with.

A callback of paho's, json, a Point for each message, and a synchronous write for each 500. It acknowledges when paho
does, and remembers nothing.
"""

from __future__ import annotations

import argparse
import json
import sys

import paho.mqtt.client as paho
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import SYNCHRONOUS
from paho.mqtt.enums import CallbackAPIVersion

AT_ONCE = 500


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.naive")
    asked.add_argument("--port", type=int, required=True)
    asked.add_argument("--login", type=json.loads, metavar='["USERNAME","PASSWORD","CLIENT_ID"]', required=True)
    asked.add_argument("--influx", type=json.loads, metavar='["URL","TOKEN","BUCKET"]', required=True)
    asked.add_argument("--count", type=int, required=True)
    said = asked.parse_args()
    url, token, bucket = said.influx
    username, password, client_id = said.login
    influx = InfluxDBClient(url, token, org="lunchong", enable_gzip=True)
    writer = influx.write_api(write_options=SYNCHRONOUS)
    points: list[Point] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)
    client.username_pw_set(username, password)
    left = said.count

    def take(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        nonlocal left
        if not message.topic.endswith("/telemetry"):
            return
        _, _, site, device, _ = message.topic.split("/")
        read = json.loads(message.payload)
        point = Point("pile").tag("site", site).tag("device", device).tag("connector", read["connector"])
        for name in ("power_kw", "energy_kwh", "current_a", "voltage_v", "seq", "boot"):
            point.field(name, read[name])
        points.append(point.time(read["ts"]))
        left -= 1
        if len(points) == AT_ONCE or not left:
            writer.write(bucket, record=points)
            points.clear()
        if not left:
            print("done", flush=True)

    client.on_message = take
    print("ready", flush=True)
    sys.stdin.readline()
    client.connect("127.0.0.1", said.port)
    client.loop_start()
    sys.stdin.readline()
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
