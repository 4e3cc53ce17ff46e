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

-- dkjson takes a table with nothing but a number `n` for what table.pack returned: a list of n nulls.
local function with_n_as_a_name(value, seen)
  if type(value) ~= 'table' or seen[value] then
    return value
  end
  seen[value] = true
  local is_list = false
  for key, element in next, value do
    is_list = is_list or type(key) == 'number'
    with_n_as_a_name(element, seen)
  end
  local n = rawget(value, 'n')
  if type(n) == 'number' and not is_list then
    rawset(value, 'n', setmetatable({}, { __tojson = function() return json.encode(n) end }))
  end
  return value
end

local encoded, result = pcall(json.encode, with_n_as_a_name(main(arguments), {}))
if not encoded then
  io.stderr:write('Error: what main returned is not JSON: ', result, '\n')
  os.exit(1)
end
local file <close> = assert(io.open(os.getenv('SANDBOX_RESULT'), 'wb'))
file:write(result)
