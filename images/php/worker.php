<?php
// The PHP worker, which becomes the program. See docs/runner-protocol.md, "Writing a worker".
// Native because loading PHP's extensions takes longer than most programs run; it is done before the job arrives.

final class SandboxWorker
{
    private static array $job;

    /** Waits for the job, writes its files and sets up the environment; returns the path of the program. */
    public static function take(): string
    {
        putenv('SANDBOX_PRELOAD');
        self::send('+');
        $pipe = fopen('php://fd/3', 'rb');
        $head = stream_get_contents($pipe, 4);
        if (strlen($head) < 4) {
            exit(0); // no job: the sandbox is being removed
        }
        self::$job = $job = json_decode(stream_get_contents($pipe, unpack('N', $head)[1]), true);
        fclose($pipe);
        foreach ($job['files'] ?? [] as $file) {
            self::write("/workspace/$file[path]", base64_decode($file['base64']));
        }
        $source = "/workspace/$job[source_file]";
        self::write($source, $job['code']);
        foreach ($job['environment'] as $name => $value) {
            putenv("$name=$value");
            $_SERVER[$name] = $value;
        }
        $GLOBALS['argv'] = $_SERVER['argv'] = [$source, ...$job['argv']];
        $GLOBALS['argc'] = $_SERVER['argc'] = count($GLOBALS['argv']);
        foreach (['PHP_SELF', 'SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_TRANSLATED'] as $name) {
            $_SERVER[$name] = $source;
        }
        return $source;
    }

    /** In function mode, calls main with named arguments and sends its return value to the runner. */
    public static function finish(): void
    {
        if (self::$job['mode'] !== 'function') {
            return;
        }
        if (!function_exists('main')) {
            self::fail('main is not defined: the program must define a function named main.');
        }
        $value = main(...self::$job['arguments']);
        $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
        $result = json_encode($value, $flags);
        if ($result === false) {
            self::fail('Error: what main returned is not JSON: ' . json_last_error_msg());
        }
        self::send('R' . pack('N', strlen($result)) . $result);
    }

    private static function send(string $data): void
    {
        $status = fopen('php://fd/4', 'wb');
        fwrite($status, $data);
        fclose($status);
    }

    private static function write(string $path, string $content): void
    {
        if (!is_dir(dirname($path))) {
            mkdir(dirname($path), 0777, true);
        }
        file_put_contents($path, $content);
    }

    private static function fail(string $message): never
    {
        fwrite(STDERR, "$message\n");
        exit(1);
    }
}

// Required at the top level, not in a function, so that the program's variables are global.
require SandboxWorker::take();
SandboxWorker::finish();
