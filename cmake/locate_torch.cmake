# Finds LibTorch: Torch_DIR (cache or environment), else what tools/setup noted in .deps/torch_dir,
# else the torch package of the python3 on the path.
if(NOT Torch_DIR AND DEFINED ENV{Torch_DIR})
  set(Torch_DIR "$ENV{Torch_DIR}")
endif()
if(NOT Torch_DIR AND EXISTS "${PROJECT_SOURCE_DIR}/.deps/torch_dir")
  file(STRINGS "${PROJECT_SOURCE_DIR}/.deps/torch_dir" Torch_DIR LIMIT_COUNT 1)
endif()
if(NOT Torch_DIR)
  execute_process(
    COMMAND python3 -c "import torch.utils as u; print(u.cmake_prefix_path + '/Torch', end='')"
    OUTPUT_VARIABLE Torch_DIR ERROR_QUIET)
endif()
if(NOT EXISTS "${Torch_DIR}/TorchConfig.cmake")
  message(FATAL_ERROR "LibTorch not found: run tools/setup, or pass -DTorch_DIR=.../share/cmake/Torch")
endif()
set(Torch_DIR "${Torch_DIR}" CACHE PATH "folder of TorchConfig.cmake" FORCE)

file(GLOB _cuda_libs "${Torch_DIR}/../../../lib/libtorch_cuda.so")
find_program(_nvcc nvcc HINTS ENV CUDA_HOME PATH_SUFFIXES bin PATHS /usr/local/cuda)
if(_cuda_libs AND NOT _nvcc)
  message(FATAL_ERROR "this LibTorch is a CUDA build (${Torch_DIR}) and no CUDA toolkit (nvcc) is "
    "installed: install the toolkit, or use a CPU build (tools/setup installs one)")
endif()
