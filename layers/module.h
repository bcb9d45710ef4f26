#pragma once
#include <minidl/core/safetensors.h>
#include <minidl/core/variable.h>
#include <minidl/kernels/activation.h>

#include <concepts>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace minidl::layers {

/// Something with parameters that maps one variable to another. Parameters, buffers and children are registered by
/// name; a full name is the path of names joined by dots ("res1.conv1.weight"). Modules are moved, not copied: a module
/// owns its children on the heap and shares handles of its parameters, so what a derived class keeps stays valid after
/// a move.
class Module {
 public:
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Variable forward(const Variable& input) = 0;
  Variable operator()(const Variable& input) { return forward(input); }

  /// Every parameter of this module, then those of its children, in the order of registration.
  std::vector<std::pair<std::string, Variable>> named_parameters() const;
  /// Only those that require a gradient.
  std::vector<Variable> parameters() const;
  /// Tensors that are saved but not trained (running statistics).
  std::vector<std::pair<std::string, Tensor>> named_buffers() const;
  /// Number of elements of all parameters.
  int64_t parameter_count() const;

  /// Parameters no longer require a gradient; backward passes do not compute one. unfreeze() reverses it.
  Module& freeze();
  Module& unfreeze();
  /// Moves parameters and buffers. Gradients are dropped where the device changes.
  Module& to(Device device);
  /// Where the first parameter or buffer lies, and by to() all of them; the CPU when there is none.
  Device device() const;
  /// Training or evaluation (dropout, batch norm) of this module and its children; the default is training.
  Module& train(bool on = true);
  bool training() const { return training_; }
  void zero_grad();

  /// Copies of parameters and buffers by full name, on the CPU; filters (rank 4) as [out, in, kh, kw].
  SafetensorsContent state() const;
  /// The reverse, from f32, f16 or bf16. Throws Error that lists what is missing, unexpected or of another shape or
  /// type, and changes nothing then.
  void load_state(const SafetensorsContent& content);
  /// state() and load_state() with a safetensors file; `metadata` is written beside the tensors.
  void save(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata = {}) const;
  void load(const std::filesystem::path& path);

 protected:
  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;

  /// The handle that a derived class keeps: it follows to() and load_state(). Throws Error when the name is taken.
  Variable register_parameter(std::string name, Tensor value);
  /// A variable that never requires a gradient.
  Variable register_buffer(std::string name, Tensor value);
  /// Takes ownership; the reference lives as long as this module, wherever it moves.
  template <std::derived_from<Module> Child>
  Child& register_child(const std::string& name, std::unique_ptr<Child> child) {
    Child& reference = *child;
    add_child(name, std::move(child));
    return reference;
  }

 private:
  struct Entry {
    std::string name;
    Variable value;
    bool is_parameter;
  };
  /// What a file or a state holds under one name.
  struct Stored;

  void add_entry(Entry entry);
  void add_child(std::string name, std::unique_ptr<Module> child);
  void check_name(const std::string& name) const;
  Module& set_requires_grad(bool on);
  /// Of this module and its children, by full name.
  std::vector<Entry> all_entries() const;
  void collect(const std::string& prefix, std::vector<Entry>& entries) const;
  void load_stored(std::map<std::string, Stored> stored, const std::string& source);

  std::vector<Entry> entries_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
  bool training_ = true;
};

/// A module that can apply an activation as it writes its output, which saves the pass of a separate one.
class ActivatedModule : public Module {
 public:
  /// The output with `activation` applied on top.
  virtual Variable forward_activated(const Variable& input, Activation activation) = 0;
};

}  // namespace minidl::layers
