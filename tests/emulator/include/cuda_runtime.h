#pragma once
// Stands in for the header of the CUDA toolkit where the device is emulated: the part of the runtime and of the device
// functions that the library uses, with the names, arguments and results that NVIDIA documents.
#define MINIDL_CUDA_EMULATED 1

#include <emulator/device_api.h>
#include <emulator/host_api.h>
#include <emulator/launch_api.h>
