#pragma once
#include <minidl/core/safetensors.h>
#include <minidl/core/variable.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace minidl::layers {

/// Something with parameters that maps one variable to another. Parameters and children are registered by name; a parameter's full name is the
/// path of names joined by dots ("res1.conv1.weight"). Modules are not copied.
class Module {
 public:
  virtual ~Module() = default;
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;

  virtual Variable forward(const Variable& input) = 0;
  Variable operator()(const Variable& input) { return forward(input); }

  /// Every parameter of this module and its children, in the order of registration.
  std::vector<std::pair<std::string, Variable>> named_parameters() const;
  /// Only those that require a gradient.
  std::vector<Variable> parameters() const;
  /// Tensors that are saved but not trained (running statistics).
  std::vector<std::pair<std::string, Tensor>> named_buffers() const;
  int64_t parameter_count() const;

  /// Parameters no longer require a gradient; backward passes do not compute one. unfreeze() reverses it.
  Module& freeze();
  Module& unfreeze();
  /// Moves parameters and buffers.
  Module& to(Device device);
  /// Training or evaluation (dropout, batch norm); the default is training.
  Module& train(bool on = true);
  bool training() const { return training_; }
  void zero_grad();

  /// Parameters and buffers by full name; filters as [out, in, kh, kw]. load throws Error that lists what is missing, unexpected or of another
  /// shape, and changes nothing then.
  SafetensorsContent state() const;
  void load_state(const SafetensorsContent& content);
  void save(const std::filesystem::path& path) const;
  void load(const std::filesystem::path& path);

 protected:
  Variable register_parameter(std::string name, Tensor value);
  void register_buffer(std::string name, Tensor* value);
  void register_child(std::string name, Module& child);

 private:
  template <typename Visit>
  void for_each_module(const std::string& prefix, const Visit& visit) const;

  std::vector<std::pair<std::string, Variable>> parameters_;
  std::vector<std::pair<std::string, Tensor*>> buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
};

}  // namespace minidl::layers
