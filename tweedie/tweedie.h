// The whole library.
#pragma once
#include "tweedie/core/error.h"
#include "tweedie/core/noise.h"
#include "tweedie/core/options.h"
#include "tweedie/core/progress.h"
#include "tweedie/core/rng.h"
