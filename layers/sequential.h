#pragma once
#include <minidl/layers/module.h>

namespace minidl::layers {

/// Layers one after the other. A ReLU right after a layer that can apply it itself (convolution, normalisation) is
/// fused into that layer's kernel; values and gradients are the same bytes with fusion switched off.
class Sequential final : public Module {
 public:
  /// Appends Layer(arguments...) under its index, so that its parameters are called "0.weight" and so on.
  template <std::derived_from<Module> Layer, typename... Arguments>
  Sequential& add(Arguments&&... arguments) {
    return add_named<Layer>(std::to_string(layers_.size()), std::forward<Arguments>(arguments)...);
  }
  /// Appends under a name of its own; throws Error when it is taken.
  template <std::derived_from<Module> Layer, typename... Arguments>
  Sequential& add_named(const std::string& name, Arguments&&... arguments) {
    layers_.push_back(&register_child(name, std::make_unique<Layer>(std::forward<Arguments>(arguments)...)));
    return *this;
  }

  /// Without any layer, the input.
  Variable forward(const Variable& input) override;
  /// On by default. Does not reach into children that are sequences themselves.
  Sequential& set_fusion(bool on);

  size_t size() const { return layers_.size(); }
  /// Throws Error when `index` is not below size().
  Module& operator[](size_t index) const;

 private:
  std::vector<Module*> layers_;  // owned by Module
  bool fusion_ = true;
};

}  // namespace minidl::layers
