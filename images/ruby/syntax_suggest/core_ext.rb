# frozen_string_literal: true

# The Ruby worker: an interpreter that takes its job before it reads its main program.
#
# The runner starts it as any shell would, `ruby /workspace/main.rb`, with a line in the file that stands for the
# program. Ruby opens the file, reads its first line, and loads its standard gems, of which this one is the last, and
# here it waits: the file of this name in Ruby's library comes later in the load path. The worker replaces the content
# of the file that Ruby has open, and rewinds it. What follows is Ruby's own work, from magic comments to DATA and the
# order in which everything ends. See docs/runner-protocol.md, "Writing a worker".
#
# No library is loaded for this: the program would find JSON without having asked for it.
module SandboxWorker
  # Reads the job: JSON of the platform's, which is valid and ASCII.
  class Json
    TOKEN = /["\[\]{}]|[^\s,:"\[\]{}]+/
    ESCAPE = /\\u[dD][89abAB]\h\h\\u[dD][c-fC-F]\h\h|\\u\h{4}|\\./
    ESCAPED = { 'b' => "\b", 'f' => "\f", 'n' => "\n", 'r' => "\r", 't' => "\t" }.freeze

    def initialize(text)
      @text = text
      @at = 0
    end

    def value
      case token = following
      when '"' then string
      when '{' then until_end { [value, value] }.to_h
      when '[' then until_end { value }
      when 'null' then nil
      when 'true' then true
      when 'false' then false
      else token.match?(/[.eE]/) ? token.to_f : token.to_i
      end
    end

    private

    def following
      start = @text.index(TOKEN, @at)
      @at = start + Regexp.last_match(0).size
      Regexp.last_match(0)
    end

    def until_end
      found = []
      until @text.match?(/\G[\s,]*[\]}]/, @at)
        found << yield
      end
      following
      found
    end

    # Searched without an expression, which would keep a place to return to for each character.
    def string
      start = stop = @at
      loop do
        stop = @text.index('"', stop)
        backslashes = stop
        backslashes -= 1 while backslashes > start && @text.getbyte(backslashes - 1) == 92
        break if (stop - backslashes).even?

        stop += 1
      end
      @at = stop + 1
      unescaped(@text[start...stop].force_encoding(Encoding::UTF_8))
    end

    def unescaped(text)
      return text unless text.include?('\\')

      text.gsub(ESCAPE) do |escape|
        if escape.size == 12
          [0x10000 + ((escape[2, 4].hex - 0xD800) << 10) + escape[8, 4].hex - 0xDC00].pack('U')
        elsif escape.size == 6
          [escape[2, 4].hex].pack('U')
        else
          ESCAPED.fetch(escape[1], escape[1])
        end
      end
    end
  end

  class << self
    attr_reader :job

    def take_job
      ENV.delete('SANDBOX_PRELOAD')
      jobs = IO.for_fd(3, 'rb')
      status = IO.for_fd(4, 'wb')
      status.sync = true
      status.write('+')
      head = jobs.read(4) || exit!(0) # no job: the sandbox is being removed
      @job = Json.new(jobs.read(head.unpack1('N')).force_encoding(Encoding::US_ASCII)).value
      [jobs, status].each(&:close)
      (@job['files'] || []).each { |file| write("/workspace/#{file['path']}", file['base64'].unpack1('m')) }
      @job['environment'].each { |name, value| ENV[name] = value }
      # Somebody watches the run, so the runner asks for what is in the buffer.
      trap('URG') { STDOUT.flush unless STDOUT.closed? }
      write(program, function? ? "load '/opt/sandbox/function.rb'\n" : @job['code'])
      # Ruby has read the line after `#!` already: only a Ruby of its own gets other options from it.
      exec('ruby', program, *@job['argv']) if !function? && @job['code'].match?(/\A#!(?!.*ruby\s*$)/)
      ObjectSpace.each_object(File) { |file| file.rewind if !file.closed? && file.path == program }
    end

    def function?
      @job['mode'] == 'function'
    end

    def program
      "/workspace/#{@job['source_file']}"
    end

    def write(path, content)
      folders = path.split('/')[1...-1]
      (1..folders.size).each do |count|
        folder = "/#{folders.first(count).join('/')}"
        Dir.mkdir(folder) unless Dir.exist?(folder)
      end
      File.binwrite(path, content)
    end
  end
end

$LOAD_PATH.delete('/opt/sandbox')
require 'syntax_suggest/core_ext'
SandboxWorker.take_job
