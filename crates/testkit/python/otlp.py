"""A collector of OTLP over HTTP that decodes with OpenTelemetry's own messages and refuses what they do not know. Prints where it is,
then answers lines on stdin with one line each: `list` is every record, as JSON; `status 503 2` answers the next two calls so; `reject` says
of the next call that a record of it was rejected."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

lock = threading.Lock()
records, troubles, tokens = [], [], []


def unknown(message):
    if len(UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is not None:
            if any(unknown(one) for one in (value if field.is_repeated else [value])):
                return True
    return False


class Collector(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with lock:
            trouble = troubles.pop(0) if troubles else None
        if isinstance(trouble, int):
            return self.answer(trouble, b"")
        request = ExportLogsServiceRequest()
        good = self.path == "/v1/logs" and self.headers["content-type"] == "application/x-protobuf"
        try:
            request.ParseFromString(body)
            good = good and not unknown(request)
        except Exception:
            good = False
        if not good:
            return self.answer(400, b"")
        response = ExportLogsServiceResponse()
        if trouble == "reject":
            response.partial_success.rejected_log_records = 1
            response.partial_success.error_message = "too large"
            return self.answer(200, response.SerializeToString())
        with lock:
            tokens.append(self.headers.get("authorization"))
            for of_resource in request.resource_logs:
                resource = {a.key: a.value.string_value for a in of_resource.resource.attributes}
                for of_scope in of_resource.scope_logs:
                    for record in of_scope.log_records:
                        records.append({"resource": resource, "scope": of_scope.scope.name, **MessageToDict(record)})
        self.answer(200, response.SerializeToString())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}/v1/logs"}), flush=True)
for line in sys.stdin:
    words = line.split()
    with lock:
        if words[0] == "status":
            troubles.extend([int(words[1])] * int(words[2]))
        elif words[0] == "reject":
            troubles.append("reject")
        print(json.dumps({"records": records, "tokens": tokens}), flush=True)
