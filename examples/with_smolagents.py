"""An agent of smolagents runs its programs on the platform, and none on the machine it runs on.

pip install 'smolagents[openai]' ./clients/python
SANDBOX_URL=http://127.0.0.1:9385 SANDBOX_TOKEN=… OPENAI_API_KEY=… python with_smolagents.py MODEL QUESTION
"""

import os
import sys

from sandbox_client import Sandbox, SandboxError
from smolagents import OpenAIModel, ToolCallingAgent, tool

sandbox = Sandbox()


@tool
def run_python(code: str) -> str:
    """Run a Python program in a fresh sandbox and return what it prints.

    It has no network, and the next program finds nothing of it.

    Args:
        code: The program.
    """
    try:
        execution = sandbox.run(code)
    except SandboxError as e:
        return f"The program did not run: {e}"
    return f"{execution.stdout}{execution.stderr}[{execution.status}]"


def answer(model: str, question: str) -> str:
    # Not CodeAgent: that one runs what the model writes in an interpreter of its own, in this process.
    reached = OpenAIModel(model, api_base=os.environ.get("OPENAI_BASE_URL"))
    return str(ToolCallingAgent([run_python], reached, verbosity_level=0).run(question))


if __name__ == "__main__":
    print(answer(*sys.argv[1:]))
