// pch.h, and LibTorch's modules, for the rooms that see networks.
#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>

#include "tweedie/pch.h"
