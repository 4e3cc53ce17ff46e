<?php
// The PHP worker: an interpreter that takes its job before it reads its main program.
//
// The runner copies this to the program's file and starts PHP as any shell would, `php /workspace/main.php`. PHP opens
// the file, and first runs the file of the setting auto_prepend_file, which is the same one and so appears nowhere, for
// example not in get_included_files(). The worker waits here and puts the program into the file that PHP has open.
// What follows is PHP's own work. See docs/runner-protocol.md, "Writing a worker".
//
// No name is declared here, and the C library is used in place of streams, because the program would see both: the
// latter as the numbers of its resources. Only so can the pipes be closed, too.
(function (): void {
    putenv('SANDBOX_PRELOAD');
    $libc = FFI::cdef('
        int open(const char *path, int flags, int mode);
        ssize_t read(int fd, void *buffer, size_t size);
        ssize_t write(int fd, const char *data, size_t size);
        int close(int fd);
        int mkdir(const char *path, int mode);
    ');
    $read = function (int $size) use ($libc): string {
        $text = '';
        $buffer = $libc->new('char[65536]');
        while ($size > strlen($text)) {
            $count = $libc->read(3, $buffer, min(65536, $size - strlen($text)));
            if ($count <= 0) {
                exit(0); // no job: the sandbox is being removed
            }
            $text .= FFI::string($buffer, $count);
        }
        return $text;
    };
    $write = function (string $path, string $content) use ($libc): void {
        for ($at = 1; $at = strpos($path, '/', $at); $at++) {
            $libc->mkdir(substr($path, 0, $at), 0777);
        }
        $fd = $libc->open($path, 01 | 0100 | 01000 | 02000000, 0666); // O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
        while ($content !== '') {
            $count = $libc->write($fd, $content, strlen($content));
            if ($count < 0) {
                $message = "$path: cannot write the file\n";
                $libc->write(2, $message, strlen($message));
                exit(1);
            }
            $content = substr($content, $count);
        }
        $libc->close($fd);
    };
    // The first calls are the slow ones.
    $write('/tmp/.rehearsal', json_decode('[" "]')[0]);
    unlink('/tmp/.rehearsal');
    $libc->write(4, '+', 1);
    $job = json_decode($read(unpack('N', $read(4))[1]), true);
    $libc->close(3);
    $libc->close(4);
    foreach ($job['files'] ?? [] as $file) {
        $write("/workspace/$file[path]", base64_decode($file['base64']));
    }
    foreach ($job['environment'] as $name => $value) {
        putenv("$name=$value");
    }
    array_push($GLOBALS['argv'], ...$job['argv']);
    $GLOBALS['argc'] = count($GLOBALS['argv']);
    // PHP has filled $_SERVER at its start: with the environment, and then with what begins at PHP_SELF.
    $_SERVER = getenv() + array_slice($_SERVER, array_search('PHP_SELF', array_keys($_SERVER)));
    $_SERVER['REQUEST_TIME_FLOAT'] = microtime(true);
    $_SERVER['REQUEST_TIME'] = time();
    $_SERVER['argv'] = $GLOBALS['argv'];
    $_SERVER['argc'] = $GLOBALS['argc'];
    $source = "/workspace/$job[source_file]";
    if ($job['mode'] === 'function') {
        require '/opt/sandbox/function.php';
        SandboxFunction::$job = $job;
        $job['code'] = '<?php require SandboxFunction::program(); SandboxFunction::finish();';
    }
    $write($source, $job['code']);
    clearstatcache(true);
    error_clear_last();
})();
