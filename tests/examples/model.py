"""A stand-in for a model: a server that speaks OpenAI's chat completions and asks for the tool calls it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


class Model:
    """Asks to run these programs, one after the other, and answers with what the last one's result was."""

    def __init__(self, *programs: str) -> None:
        self.asked: list[Json] = []
        self.url = ""
        self._programs = programs

    def message(self, asked: Json) -> Json:
        self.asked.append(asked)
        number = len(self.asked)
        if number <= len(self._programs):
            return self._call("run_python", code=self._programs[number - 1])
        text = json.dumps(asked["messages"][-1], ensure_ascii=False)
        # smolagents ends with a call.
        if any(it["function"]["name"] == "final_answer" for it in asked["tools"]):
            return self._call("final_answer", answer=text)
        return {"role": "assistant", "content": text}

    def _call(self, name: str, **arguments: Any) -> Json:
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call_{len(self.asked)}", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    @contextmanager
    def serving(self) -> Iterator["Model"]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                message = model.message(asked)
                body = streamed(message) if asked.get("stream") else json.dumps(complete(message)).encode()
                kind = "text/event-stream" if asked.get("stream") else "application/json"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/v1"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield self
            server.shutdown()


def reason(message: Json) -> str:
    return "tool_calls" if "tool_calls" in message else "stop"


def complete(message: Json) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": reason(message)}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def streamed(message: Json) -> bytes:
    calls = [{"index": index} | call for index, call in enumerate(message.get("tool_calls", []))]
    delta = message | ({"tool_calls": calls} if calls else {})
    choices = [
        {"index": 0, "delta": delta, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": reason(message)},
    ]
    chunks = [
        {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        for choice in choices
    ]
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n"
