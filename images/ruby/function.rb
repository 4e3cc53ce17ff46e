# frozen_string_literal: true

# The main program of mode "function": writes the program in its own place, loads it, calls its main and writes the
# result.
require 'json'

SandboxWorker.write(SandboxWorker.program, SandboxWorker.job['code'])
main_process = Process.pid
# Ruby does this for the main program only.
if (at = SandboxWorker.job['code'].b =~ /^__END__\r?\n/n)
  DATA = File.open(SandboxWorker.program).tap { |file| file.seek(at + Regexp.last_match(0).bytesize) }
end

# Where in the value of that name JSON stops: at a number that is not finite, or at text that is not UTF-8.
not_json = lambda do |value, path|
  case value
  when Hash then value.filter_map { |key, element| not_json.call(element, "#{path}[#{key.inspect}]") }.first
  when Array then value.each_with_index.filter_map { |element, at| not_json.call(element, "#{path}[#{at}]") }.first
  when Float then " (#{path}, a Float)" unless value.finite?
  when String then " (#{path}, a String)" unless value.encode(Encoding::UTF_8).valid_encoding?
  end
rescue EncodingError
  " (#{path}, a String)"
end

begin
  load SandboxWorker.program
  abort 'main is not defined: the program must define a method named main.' unless respond_to?(:main, true)
  arguments = SandboxWorker.job['arguments']
  # Pass keywords if main takes any, else one Hash.
  kinds = method(:main).parameters.map(&:first)
  value = if kinds.intersect?(%i[key keyreq keyrest])
            main(**arguments.transform_keys(&:to_sym))
          else
            kinds.empty? ? main : main(arguments)
          end
  begin
    result = JSON.generate(value)
  rescue JSON::NestingError, EncodingError => e
    abort "Error: what main returned is not JSON: #{e.message}"
  rescue JSON::GeneratorError => e
    abort "Error: what main returned is not JSON: #{e.message}#{not_json.call(value, 'main()')}"
  end
  # Not from a forked child that left its main, too.
  if Process.pid == main_process
    # Renamed when it is whole: the runner may end the program at any time.
    File.binwrite('/run/sandbox/result.part', result)
    File.rename('/run/sandbox/result.part', '/run/sandbox/result')
  end
rescue SystemExit, SignalException
  raise
rescue Exception => e
  # Start the backtrace in the program, not here.
  e.set_backtrace(e.backtrace.take_while { |line| !line.start_with?('/opt/sandbox/') })
  raise e
end
