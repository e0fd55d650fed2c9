// See ../context.h. c10d includes this header and uses nothing of it.
#pragma once
