"""HTTP/1.1 with keep-alive, GET and PUT below a directory; every request is logged."""

import http.server
import os
import socket
import sys

root, address, port = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        try:
            with open(root + self.path, "rb") as file:
                self.answer(200, file.read())
        except OSError:
            self.answer(404)

    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        with open(root + self.path, "wb") as file:
            while left > 0:
                part = self.rfile.read(min(left, 1 << 16))
                if not part:
                    break
                left -= len(part)
                file.write(part)
        self.answer(201)

    def do_OPTIONS(self):
        self.answer(200)

    def log_request(self, code="-", size="-"):
        print("0", self.command, self.path, int(code), flush=True)


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    daemon_threads = True
    request_queue_size = 1024


os.makedirs(root, exist_ok=True)
Server((address, int(port)), Handler).serve_forever()
