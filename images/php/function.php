<?php
// Mode "function": the program's file first holds two calls of what is here. They put the program in their own place,
// run it, call its main and write the result.
final class SandboxFunction
{
    public static array $job;

    /** Write the program and return its file. */
    public static function program(): string
    {
        $source = '/workspace/' . self::$job['source_file'];
        file_put_contents($source, self::$job['code']);
        clearstatcache(true);
        return $source;
    }

    /** Call main with named arguments and send the return value to the runner. */
    public static function finish(): void
    {
        if (!function_exists('main')) {
            self::fail('main is not defined: the program must define a function named main.');
        }
        $main_process = getmypid();
        $value = main(...self::$job['arguments']);
        $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
        $result = json_encode($value, $flags);
        if ($result === false) {
            $why = json_last_error_msg();
            self::fail("Error: what main returned is not JSON: $why" . self::notJson($value, 'main()'));
        }
        if (getmypid() === $main_process) { // not a forked child that left its main, too
            // Renamed when it is whole: the runner may end the program at any time.
            file_put_contents('/run/sandbox/result.part', $result);
            rename('/run/sandbox/result.part', '/run/sandbox/result');
        }
    }

    /** Say where in the value of that name JSON stops, and at a value of which type. */
    private static function notJson(mixed $value, string $path): string
    {
        if (is_array($value)) {
            foreach ($value as $key => $element) {
                if (($found = self::notJson($element, $path . '[' . var_export($key, true) . ']')) !== '') {
                    return $found;
                }
            }
            return '';
        }
        return json_encode($value) === false ? " ($path, " . get_debug_type($value) . ')' : '';
    }

    private static function fail(string $message): never
    {
        fwrite(STDERR, "$message\n");
        exit(1);
    }
}
