"""An agent of LangChain runs its programs on the platform.

pip install langchain langchain-openai ./clients/python
SANDBOX_URL=http://127.0.0.1:9385 SANDBOX_TOKEN=… OPENAI_API_KEY=… python with_langchain.py openai:MODEL QUESTION
"""

import sys

from langchain.agents import create_agent
from langchain_core.tools import ToolException, tool
from sandbox_client import Execution, Sandbox, SandboxError

sandbox = Sandbox()


@tool(response_format="content_and_artifact")
def run_python(code: str) -> tuple[str, Execution]:
    """Run a Python program in a fresh sandbox and return what it prints.

    It has no network, and the next program finds nothing of it.
    """
    try:
        execution = sandbox.run(code)
    except SandboxError as e:
        raise ToolException(f"The program did not run: {e}") from e
    # The text is the model's; your program finds the whole execution in the message's `artifact`.
    return f"{execution.stdout}{execution.stderr}[{execution.status}]", execution


run_python.handle_tool_error = True


def answer(model: str, question: str) -> str:
    agent = create_agent(model, [run_python])
    state = agent.invoke({"messages": [{"role": "user", "content": question}]})
    return str(state["messages"][-1].text)


if __name__ == "__main__":
    print(answer(*sys.argv[1:]))
