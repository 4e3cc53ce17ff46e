# frozen_string_literal: true

# The Ruby worker, which becomes the program. See docs/runner-protocol.md, "Writing a worker".
# Native because loading RubyGems takes longer than most programs run; it is done before the job arrives.
require 'fileutils'
require 'json'

sandbox = lambda do
  ENV.delete('SANDBOX_PRELOAD')
  jobs = IO.for_fd(3, 'rb')
  status = IO.for_fd(4, 'wb')
  [jobs, status].each { |pipe| pipe.close_on_exec = true }
  status.sync = true
  status.write('+')
  head = jobs.read(4) || exit!(0) # no job: the sandbox is being removed
  job = JSON.parse(jobs.read(head.unpack1('N')))
  jobs.close

  write = lambda do |path, content|
    FileUtils.mkdir_p(File.dirname(path))
    File.binwrite(path, content)
  end
  job.fetch('files', []).each { |file| write.call("/workspace/#{file['path']}", file['base64'].unpack1('m')) }
  source = "/workspace/#{job['source_file']}"
  write.call(source, job['code'])
  ENV.update(job['environment'])
  ARGV.replace(job['argv'])
  $0 = source
  # Ruby defines DATA only for its main script, which is this worker.
  if (at = job['code'].b =~ /^__END__\r?\n/n)
    Object.const_set(:DATA, File.open(source).tap { |file| file.seek(at + Regexp.last_match(0).bytesize) })
  end
  [job, source, status]
end
job, source, status = sandbox.call

begin
  load source
  if job['mode'] == 'function'
    abort 'main is not defined: the program must define a method named main.' unless respond_to?(:main, true)
    # Pass the arguments as keywords if main takes any, otherwise as one Hash.
    kinds = method(:main).parameters.map(&:first)
    value = if kinds.intersect?(%i[key keyreq keyrest])
              main(**job['arguments'].transform_keys(&:to_sym))
            else
              kinds.empty? ? main : main(job['arguments'])
            end
    begin
      result = JSON.generate(value)
    rescue JSON::GeneratorError, JSON::NestingError => e
      abort "Error: what main returned is not JSON: #{e.message}"
    end
    status.write(['R', result.bytesize].pack('aN'), result)
  end
rescue SystemExit, SignalException
  raise
rescue Exception => e
  # Remove this file's lines from the backtrace.
  e.set_backtrace(e.backtrace.reject { |line| line.start_with?('/opt/sandbox/') })
  raise e
end
