# Runs one module of Python's tests, MODULE, and writes a line for each test into artifacts/outcomes.txt.
import os
import sys
import unittest

from test import support


class Outcomes(unittest.TextTestResult):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lines = []

    def note(self, test, outcome):
        self.lines.append(f"{test.id()} {outcome}")

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "ok")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, f"failed: {error[0].__name__}")

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, f"failed: {error[0].__name__}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, f"skipped: {reason}")

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.note(test, "failed as expected")


def run():
    support.verbose = 0
    support.use_resources = []
    folder = os.getcwd()
    os.makedirs("/tmp/suite")
    os.chdir("/tmp/suite")
    try:
        suite = unittest.defaultTestLoader.loadTestsFromName("test.MODULE")
        result = unittest.TextTestRunner(verbosity=0, resultclass=Outcomes, buffer=False).run(suite)
        lines, right = result.lines, result.wasSuccessful()
    except unittest.SkipTest as reason:
        lines, right = [f"all skipped: {reason}"], True
    with open(f"{folder}/artifacts/outcomes.txt", "w") as file:
        # Once each: a test with threads may report the same failure from one of them or from two.
        file.write("".join(f"{line}\n" for line in sorted(set(lines))))
    sys.exit(not right)


if __name__ == "__main__":
    run()
