-- Call main with the arguments as a table and send the return value to the runner.
local json = require('dkjson')

local source = table.remove(arg, 1)
arg[0] = source
local file <close> = assert(io.open(os.getenv('SANDBOX_ARGUMENTS')))
local arguments = json.decode(file:read('a'))
assert(loadfile(source))(table.unpack(arg))
if type(main) ~= 'function' then
  io.stderr:write('main is not defined: the program must define a global function named main.\n')
  os.exit(1)
end
local encoded, result = pcall(json.encode, main(arguments))
if not encoded then
  io.stderr:write('Error: what main returned is not JSON: ', result, '\n')
  os.exit(1)
end
local file <close> = assert(io.open(os.getenv('SANDBOX_RESULT'), 'wb'))
file:write(result)
