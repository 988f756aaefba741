"""A shop's HTTP API on loopback, to try the machines beside it on: python service.py PORT

It asks for a token, refuses what it does not know, and can be told to misbehave: what stands in `faults` (a status, or a status with its
headers, by path) is answered first; 0 is no answer until `released`. It keeps what it was asked, and how many requests were under way at
once.
"""

import json
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CUSTOMERS = {"7": {"name": "Ada Lovelace", "vip": True}, "8": {"name": "Konrad Zuse", "vip": False}}
ORDERS = {"7": ["gear-40", "motor", "belt"], "8": ["relay", "tube"]}
CREDIT = {"7": 5000, "8": 0}
PRICES = {"gear-40": 8.5, "motor": 640.0, "belt": 2.2, "relay": 1.1}


class Shop(ThreadingHTTPServer):
    """The service. `meet`: so many requests for a customer must be there at once before any of them is answered."""

    daemon_threads = True

    def __init__(self, port: int = 0, meet: int = 1) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str, dict]] = []
        self.faults: dict[str, list] = defaultdict(list)
        self.orders: dict[str, dict] = {}
        self.meeting = threading.Barrier(meet)
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.under_way = self.most = 0

    def answer(self, method: str, path: str, body: dict, token: str) -> tuple[int, object]:
        """The status and the content for one request."""
        kind, _, rest = path.strip("/").partition("/")
        if path == "/token":
            return (200, {"token": f"t-{body['user']}"}) if method == "POST" and body.get("user") else (401, {})
        if not token.startswith("Bearer t-"):
            return 401, {"error": "no token"}
        if kind == "orders":
            return self.order(method, rest, body)
        if method != "GET":
            return 405, {}
        if kind == "articles":
            return (200, {"price": PRICES[rest]}) if rest in PRICES else (404, {"error": f"no article {rest}"})
        number, _, part = rest.partition("/")
        table = {"": CUSTOMERS, "orders": ORDERS, "credit": CREDIT}.get(part, {})
        if kind != "customers" or number not in table:
            return 404, {"error": f"no {path}"}
        self.meeting.wait(5)
        return 200, table[number]

    def order(self, method: str, number: str, body: dict) -> tuple[int, object]:
        """Orders are made, changed and cancelled."""
        if method == "POST":
            number = str(len(self.orders) + 1)
        elif number not in self.orders:
            return 404, {"error": f"no order {number}"}
        if method == "DELETE":
            del self.orders[number]
            return 204, None
        self.orders[number] = body
        return 201 if method == "POST" else 200, {"order": number}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop

    def handle_any(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        shop, path, headers = self.server, self.path, {}
        with shop.lock:
            shop.asked.append((self.command, path, body))
            shop.under_way += 1
            shop.most = max(shop.most, shop.under_way)
            fault = shop.faults[path].pop(0) if shop.faults[path] else None
        if fault is not None:
            status, headers = fault if isinstance(fault, tuple) else (fault, {})
            content = {"error": "told to"}
        else:
            status, content = shop.answer(self.command, path, body, self.headers.get("authorization", ""))
        if fault == 0:
            shop.released.wait(10)
            self.close_connection = True
            return
        with shop.lock:
            shop.under_way -= 1
        data = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    shop = Shop(int(sys.argv[1]))
    print(shop.url, flush=True)
    shop.serve_forever()
