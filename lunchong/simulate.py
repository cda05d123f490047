"""`lunchong simulate`: a street of devices, or a plain load, against any installation.

    lunchong simulate --mqtt URL [--inventory FILE] [--credentials FILE] [--devices N] [--speed N] [--weather DATE]
                      [--faults SPEC] [--rate MESSAGES_PER_S] [--for SECONDS] [--seed N]
                      [--acked FILE] [--sent FILE] [--dropped FILE] [--json]

`--mqtt` is `mqtt://[user:password@]host:port`. `--credentials` holds `{"username","password"[,"url"]}`, one a line or as
one JSON list; user names are `SITE/DEVICE`, or `SITE/+` for a gateway that speaks for every device of its site that has
no credential of its own. With neither, devices connect with the user of the URL, or without one.

Service time is that of the clock in `service/ingest`; `--speed` holds only where there is none within three seconds.
Above speed 1 devices pack messages into arrays.

Range files hold lines `site,device,boot,lo,hi`. `--acked` is appended to while it runs and synced before a range is
counted; `--sent` and `--dropped` are written once, at the end: what was published at least once, and what devices gave
up and said so. Messages that were said and never published are in none of them.

`--faults` is `name=share,…` of: `duplicate`, `reorder`, `garbage` (shares of publishes), `skew`, `silence`, `reboot`
(shares of devices; silence and reboot come again each ten minutes of service time, silence lasts three intervals).

It ends after `--for` wall seconds, or on SIGTERM or SIGINT: the street stops, and up to 10 s are given to the last acks
(a second signal ends it at once). With `--json` each line of standard output is one JSON object:

    {"progress":{…the figures below…}}      once a second
    {"sent":…,"acked":…,"resent":…,"dropped":…,"garbage":…,"devices":…,"connected":…,"seconds":…}      the last line

`sent` counts distinct (device, boot, seq) that were published, `acked` those that an `ack` covered, `resent` publishes
of a message beyond its first, `dropped` those given up and reported in `boots`, `garbage` malformed payloads published
on purpose (each with bytes of its own, so each makes one dead letter). What was published and neither acknowledged nor
dropped when it ended is `sent − acked − dropped`. Exit code 0; 2 for a bad argument or file, in one line.
"""
