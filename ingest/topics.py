"""Floor 0 · The topic names of the bus, made and taken apart in one place."""

from __future__ import annotations

ROOT = "lunchong/v1"
SERVICE = "service"

DEVICE_WRITES = ("telemetry", "status", "cmd/result")
DEVICE_READS = ("ack", "cmd", "turns")
READER_READS = ("+/+/state", "+/+/session", "service/+")


def device_topic(name: str, leaf: str) -> str:
    """The topic of `SITE/DEVICE` that ends in `leaf`."""
    return f"{ROOT}/{name}/{leaf}"


def service_topic(process: str) -> str:
    return f"{ROOT}/{SERVICE}/{process}"


def split_topic(topic: str) -> tuple[str, str] | None:
    """(`SITE/DEVICE`, leaf) of a device's topic, or None for anything else."""
    parts = topic.split("/", 4)
    if len(parts) != 5 or parts[0] != "lunchong" or parts[1] != "v1" or parts[2] == SERVICE:
        return None
    return f"{parts[2]}/{parts[3]}", parts[4]
