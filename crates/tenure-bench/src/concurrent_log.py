"""Appends lines with concurrent-log-handler, as its README shows."""
import logging
import sys

from concurrent_log_handler import ConcurrentRotatingFileHandler

path, count = sys.argv[1], int(sys.argv[2])
log = logging.getLogger("bench")
log.setLevel(logging.INFO)
log.addHandler(ConcurrentRotatingFileHandler(path, "a", 1 << 40, 3))
line = "r" * 100
for _ in range(count):
    log.info(line)
