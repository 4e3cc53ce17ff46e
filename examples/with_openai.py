"""A model of OpenAI's API, or of a server that speaks it, runs its programs on the platform: no framework is needed.

pip install openai ./clients/python
SANDBOX_URL=http://127.0.0.1:9385 SANDBOX_TOKEN=… OPENAI_API_KEY=… python with_openai.py MODEL QUESTION
"""

import json
import sys
from typing import Any

from openai import OpenAI
from sandbox_client import Sandbox, SandboxError

RUN_PYTHON: Any = {
    "type": "function",
    "function": {
        "name": "run_python",
        "description": "Run a Python program in a fresh sandbox and return what it prints. "
        "It has no network, and the next program finds nothing of it.",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string"}},
            "required": ["code"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


def output_of(call: Any, sandbox: Sandbox) -> dict[str, str]:
    """Return the message that answers a tool call. A model can mend what it is told, so nothing is raised."""
    try:
        execution = sandbox.run(str(json.loads(call.function.arguments)["code"]))
        output = {name: execution.raw[name] for name in ("status", "stdout", "stderr", "message")}
    except (ValueError, KeyError, TypeError):
        output = {"error": 'The arguments are {"code": "…"}.'}
    except SandboxError as e:
        output = {"error": f"The program did not run: {e}"}
    return {"role": "tool", "tool_call_id": call.id, "content": json.dumps(output)}


def answer(model: str, question: str) -> str:
    messages: list[Any] = [{"role": "user", "content": question}]
    with Sandbox() as sandbox:
        while True:
            made = OpenAI().chat.completions.create(model=model, messages=messages, tools=[RUN_PYTHON])
            message = made.choices[0].message
            if not message.tool_calls:
                return message.content or ""
            messages += [message, *(output_of(call, sandbox) for call in message.tool_calls)]


if __name__ == "__main__":
    print(answer(*sys.argv[1:]))
