# Calls main with the arguments, as keywords if it has any, else as one Hash; sends the runner what it returns.
require 'json'

source = ARGV.shift
arguments = JSON.parse(File.read(ENV.delete('SANDBOX_ARGUMENTS')))
$0 = source
load source
abort 'main is not defined: the program must define a method named main.' unless respond_to?(:main, true)
kinds = method(:main).parameters.map(&:first)
value = if kinds.intersect?(%i[key keyreq keyrest])
          main(**arguments.transform_keys(&:to_sym))
        else
          kinds.empty? ? main : main(arguments)
        end
begin
  result = JSON.generate(value)
rescue JSON::GeneratorError, JSON::NestingError => e
  abort "Error: what main returned is not JSON: #{e.message}"
end
status = IO.for_fd(4, 'wb')
status.write(['R', result.bytesize].pack('aN'), result)
status.close
