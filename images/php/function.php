<?php
// Calls main with the arguments by their names; sends the runner what it returns.
(static function (array $words): void {
    $GLOBALS['argv'] = array_slice($words, 1);
    $GLOBALS['argc'] = count($GLOBALS['argv']);
    require $words[1];
})($argv);
(static function (): void {
    $arguments = json_decode(file_get_contents(getenv('SANDBOX_ARGUMENTS')), true);
    putenv('SANDBOX_ARGUMENTS');
    if (!function_exists('main')) {
        fwrite(STDERR, "main is not defined: the program must define a function named main.\n");
        exit(1);
    }
    $value = main(...$arguments);
    $result = json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION);
    if ($result === false) {
        fwrite(STDERR, 'Error: what main returned is not JSON: ' . json_last_error_msg() . "\n");
        exit(1);
    }
    $status = fopen('php://fd/4', 'wb');
    fwrite($status, 'R' . pack('N', strlen($result)) . $result);
    fclose($status);
})();
