#pragma once
/// Everything of minidl::minidl: tensors, tape, layers, losses, optimisers, pictures. The style-transfer algorithms are in
/// <minidl/apps/gatys.h> (minidl::style).
#include <minidl/version.h>
