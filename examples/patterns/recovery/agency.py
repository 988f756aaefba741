"""A travel agency and a bank on loopback, to try the machines beside it on: python agency.py PORT

What stands in `faults` (a status by request, such as ``PUT /cars/t1``) is answered first; 0 hangs up without an answer.
"""

import json
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RATES = {"USD": 0.92, "GBP": 1.17}


class Agency(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.faults: dict[str, list[int]] = defaultdict(list)
        self.booked: dict[str, dict] = {}


class Handler(BaseHTTPRequestHandler):
    server: Agency

    def handle_any(self) -> None:
        agency, request = self.server, f"{self.command} {self.path}"
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        agency.asked.append(request)
        status, content = 200, {}
        if self.command == "GET":
            rate = RATES.get(self.path.rpartition("/")[2])
            status, content = (200, {"rate": rate}) if rate else (404, {})
        elif self.command == "PUT":
            agency.booked[self.path] = body
            content = {"number": f"{self.path}-{len(agency.booked)}"}
        elif agency.booked.pop(self.path, None) is None:
            status = 404
        if agency.faults[request]:
            status = agency.faults[request].pop(0)
            if status in range(400, 500):
                agency.booked.pop(self.path, None)
        if status:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_PUT = do_DELETE = handle_any

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    agency = Agency(int(sys.argv[1]))
    for fault in sys.argv[2:]:  # such as 'PUT /cars/t1=409'
        request, _, status = fault.partition("=")
        agency.faults[request].append(int(status))
    print(agency.url, flush=True)
    agency.serve_forever()
