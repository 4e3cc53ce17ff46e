"""Judge0's official Python SDK: python judge0_sdk.py URL TOKEN."""

import json
import sys

import judge0


def main(url: str, token: str) -> dict[str, object]:
    client = judge0.Client(url, headers={"X-Auth-Token": token})
    # Otherwise it takes a language of Judge0's extra edition.
    given = {"client": client, "language": judge0.LanguageAlias.PYTHON}
    echo = "print(input()[::-1])"
    one = judge0.run(**given, source_code=echo, stdin="repaid!")
    cases = [judge0.TestCase("ab", "ba"), judge0.TestCase("ab", "ab")]
    judged = judge0.run(**given, source_code=echo, test_cases=cases)
    slow = judge0.run(**given, source_code="while True: pass", cpu_time_limit=0.5)
    return {
        "version": client.version,
        "stdout": one.stdout,
        "is_timed": one.time > 0 and one.memory > 0 and one.finished_at >= one.created_at,
        "statuses": [str(submission.status) for submission in (one, *judged, slow)],
        "runs_python": client.is_language_supported(judge0.LanguageAlias.PYTHON),
        "batch": client.config.max_submission_batch_size,
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
