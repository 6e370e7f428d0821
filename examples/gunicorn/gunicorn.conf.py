# gunicorn takes the sockets of LISTEN_FDS by itself: no `bind` here.
workers = 2
worker_class = "gthread"
threads = 8
# No kept connections: on SIGTERM gunicorn closes idle ones at once, and a client that sends its next request in that moment
# gets a reset. With 0 every answer says `Connection: close`. A reverse proxy in front can keep its clients' connections.
keepalive = 0
# Requests in flight at SIGTERM get this long; the manifest's drain deadline is longer.
graceful_timeout = 25
# The heartbeat files of the workers: not on a disk.
worker_tmp_dir = "/dev/shm"
