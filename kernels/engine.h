#pragma once
#include <minidl/core/device.h>
#include <minidl/core/error.h>
#include <minidl/kernels/execution.h>

#include <cstdio>
#include <span>
#include <string>

namespace minidl {

/// Chooses from an ordered table: the engine called `first` when it accepts the problem, else the first one that accepts. An engine has
/// `name`, `device` and `decline(problem, precision)`, which returns nullptr or the reason why it cannot do this problem.
template <typename Engine, typename Problem>
const Engine& choose_engine(std::span<const Engine* const> table, const Problem& problem, Device::Kind device, Precision precision,
                            const std::string& first, const char* op) {
  std::string reasons;
  const auto try_engine = [&](const Engine& engine) {
    const char* reason = engine.device != device ? "other device" : engine.decline(problem, precision);
    if (reason) reasons += detail::format_message(" {}: {};", {engine.name, reason});
    return reason == nullptr;
  };
  const auto chosen = [&](const Engine& engine) -> const Engine& {
    if (execution::verbose()) {
      std::fprintf(stderr, "[%s] %s uses %s;%s\n", op, problem.str().c_str(), engine.name, reasons.empty() ? "" : reasons.c_str());
    }
    return engine;
  };
  if (!first.empty()) {
    for (const Engine* engine : table) {
      if (first == engine->name && try_engine(*engine)) return chosen(*engine);
    }
  }
  for (const Engine* engine : table) {
    if (first != engine->name && try_engine(*engine)) return chosen(*engine);
  }
  fail("[{}] no engine for {} at {}:{}", op, problem, to_string(precision), reasons);
}

}  // namespace minidl
