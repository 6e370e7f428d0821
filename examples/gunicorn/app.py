"""A WSGI application. How it drains is gunicorn's affair: see gunicorn.conf.py."""

import os

VERSION = os.environ.get("APP_VERSION", "dev")


def app(environ, start_response):
    if environ["PATH_INFO"] == "/ready":
        body = b"ready\n"
    else:
        body = f"hello from {VERSION}\n".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Version", VERSION)]
    start_response("200 OK", headers)
    return [body]
