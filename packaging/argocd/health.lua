-- The health of Assent's objects for Argo CD, from their kstatus conditions. Ready becomes Healthy, and Stalled becomes
-- Degraded. An object that waits for people becomes Suspended.
local health = { status = "Progressing", message = "the operator has not processed this object yet" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end

local ready, stalled = nil, nil
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Stalled" then
    stalled = condition
  end
end
if ready == nil or ready.observedGeneration ~= obj.metadata.generation then
  return health
end

health.message = ready.reason .. ": " .. ready.message
if ready.status == "True" then
  health.status = "Healthy"
elseif stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
else
  health.status = "Suspended"
end
return health
