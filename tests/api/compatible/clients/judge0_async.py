"""judge0-client, an asynchronous library for Judge0: python judge0_async.py URL TOKEN."""

import asyncio
import json
import sys

from judge0_client import Judge0Client, Judge0Error, SingleFileSubmission, SubmissionDetail, SubmissionStatusId

PYTHON = 71


async def ended(client: Judge0Client, submission: SingleFileSubmission) -> SubmissionDetail:
    token = (await client.create_submission(submission)).token
    while True:
        detail = await client.get_submission(token)
        if detail.status.id not in (SubmissionStatusId.IN_QUEUE, SubmissionStatusId.PROCESSING):
            return detail
        await asyncio.sleep(0.1)


async def main(url: str, token: str) -> dict[str, object]:
    async with Judge0Client(url, timeout=60, auth_token=token) as client:
        failed = SingleFileSubmission(source_code="raise ValueError('ü')", language_id=PYTHON)
        detail = await ended(client, failed)
        try:
            await client.create_submission(failed.model_copy(update={"compiler_options": "-O3"}))
        except Judge0Error as e:
            refused = str(e)
        return {
            "about": (await client.get_about()).version,
            "status": detail.status.description,
            "stderr": detail.stderr,
            "refused": refused,
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
