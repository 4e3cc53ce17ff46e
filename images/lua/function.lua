-- Calls main with the arguments as a table and sends its return value to the runner.
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
-- Lua cannot use a descriptor by number and has no permission to open the runner's pipe by path: cat inherits it.
local status = assert(io.popen('exec cat >&4', 'w'))
status:write('R', string.pack('>I4', #result), result)
status:close()
