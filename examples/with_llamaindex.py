"""An agent of LlamaIndex runs its programs on the platform.

pip install llama-index-core llama-index-llms-openai ./clients/python
SANDBOX_URL=http://127.0.0.1:9385 SANDBOX_TOKEN=… OPENAI_API_KEY=… python with_llamaindex.py MODEL QUESTION
"""

import asyncio
import os
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from sandbox_client import AsyncSandbox, SandboxError


async def run_python(code: str) -> str:
    """Run a Python program in a fresh sandbox and return what it prints.

    It has no network, and the next program finds nothing of it.
    """
    async with AsyncSandbox() as sandbox:
        try:
            execution = await sandbox.run(code)
        except SandboxError as e:
            return f"The program did not run: {e}"
    return f"{execution.stdout}{execution.stderr}[{execution.status}]"


async def answer(model: str, question: str) -> str:
    reached = OpenAI(model, api_base=os.environ.get("OPENAI_BASE_URL"))
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(async_fn=run_python)], llm=reached)
    return str(await agent.run(question))


if __name__ == "__main__":
    print(asyncio.run(answer(*sys.argv[1:])))
