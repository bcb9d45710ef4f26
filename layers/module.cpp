#include <minidl/layers/module.h>
#include <minidl/version.h>

#include <functional>

namespace minidl::layers {
namespace {

/// Shape in files: filters [out, kh, kw, in] are stored as [out, in, kh, kw].
Shape file_shape(const Shape& shape) {
  return shape.rank() == 4 ? Shape{shape[0], shape[3], shape[1], shape[2]} : shape;
}

/// Names for an error message: the first few, and how many more there are.
class NameList {
 public:
  void add(const std::string& name) {
    if (++count_ <= kShown) text_ += (count_ > 1 ? ", " : "") + name;
  }
  bool empty() const { return count_ == 0; }
  /// "; missing: a, b and 3 more", or nothing.
  std::string str(const std::string& title) const {
    if (empty()) return "";
    return "; " + title + ": " + text_ + (count_ > kShown ? " and " + std::to_string(count_ - kShown) + " more" : "");
  }

 private:
  static constexpr int kShown = 8;
  std::string text_;
  int count_ = 0;
};

}  // namespace

struct Module::Stored {
  Dtype dtype;
  Shape shape;
  std::function<Tensor()> read;
};

Variable Module::register_parameter(std::string name, Tensor value) {
  Variable parameter(std::move(value), true);
  add_entry({std::move(name), parameter, true});
  return parameter;
}

Variable Module::register_buffer(std::string name, Tensor value) {
  Variable buffer(std::move(value));
  add_entry({std::move(name), buffer, false});
  return buffer;
}

void Module::add_entry(Entry entry) {
  check_name(entry.name);
  entries_.push_back(std::move(entry));
}

void Module::add_child(std::string name, std::unique_ptr<Module> child) {
  check_name(name);
  child->train(training_);
  children_.emplace_back(std::move(name), std::move(child));
}

void Module::check_name(const std::string& name) const {
  MINIDL_CHECK(!name.empty(), "[module] a parameter or child needs a name");
  for (const Entry& entry : entries_) MINIDL_CHECK(entry.name != name, "[module] the name '{}' is taken", name);
  for (const auto& child : children_) MINIDL_CHECK(child.first != name, "[module] the name '{}' is taken", name);
}

void Module::collect(const std::string& prefix, std::vector<Entry>& entries) const {
  for (const Entry& entry : entries_) entries.push_back({prefix + entry.name, entry.value, entry.is_parameter});
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", entries);
}

std::vector<Module::Entry> Module::all_entries() const {
  std::vector<Entry> entries;
  collect("", entries);
  return entries;
}

std::vector<std::pair<std::string, Variable>> Module::named_parameters() const {
  std::vector<std::pair<std::string, Variable>> parameters;
  for (Entry& entry : all_entries()) {
    if (entry.is_parameter) parameters.emplace_back(std::move(entry.name), std::move(entry.value));
  }
  return parameters;
}

std::vector<Variable> Module::parameters() const {
  std::vector<Variable> parameters;
  for (const Entry& entry : all_entries()) {
    if (entry.value.requires_grad()) parameters.push_back(entry.value);
  }
  return parameters;
}

std::vector<std::pair<std::string, Tensor>> Module::named_buffers() const {
  std::vector<std::pair<std::string, Tensor>> buffers;
  for (const Entry& entry : all_entries()) {
    if (!entry.is_parameter) buffers.emplace_back(entry.name, entry.value.value());
  }
  return buffers;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const auto& parameter : named_parameters()) count += parameter.second.value().count();
  return count;
}

Module& Module::freeze() {
  return set_requires_grad(false);
}
Module& Module::unfreeze() {
  return set_requires_grad(true);
}

Module& Module::set_requires_grad(bool on) {
  for (Entry& entry : all_entries()) {
    if (entry.is_parameter) entry.value.set_requires_grad(on);
  }
  return *this;
}

Module& Module::to(Device device) {
  for (Entry& entry : all_entries()) {
    Variable& variable = entry.value;
    if (variable.value().device() == device) continue;
    const bool requires_grad = variable.requires_grad();
    variable.set_requires_grad(false);  // the gradient's slot belongs to the old device
    variable.mutable_value() = variable.value().to(device);
    variable.set_requires_grad(requires_grad);
  }
  return *this;
}

Device Module::device() const {
  const std::vector<Entry> entries = all_entries();
  return entries.empty() ? Device::cpu() : entries.front().value.value().device();
}

Module& Module::train(bool on) {
  training_ = on;
  for (const auto& child : children_) child.second->train(on);
  return *this;
}

void Module::zero_grad() {
  for (Entry& entry : all_entries()) entry.value.zero_grad();
}

SafetensorsContent Module::state() const {
  SafetensorsContent content;
  for (const Entry& entry : all_entries()) {
    const Tensor value = entry.value.value().to(Device::cpu());
    content.tensors.emplace_back(entry.name, value.shape().rank() == 4 ? to_channels_first(value) : value.clone());
  }
  return content;
}

void Module::load_state(const SafetensorsContent& content) {
  std::map<std::string, Stored> stored;
  for (const auto& [name, tensor] : content.tensors) {
    stored[name] = {tensor.dtype(), tensor.shape(), [&tensor = tensor] { return tensor; }};
  }
  load_stored(std::move(stored), "the state");
}

void Module::save(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata) const {
  SafetensorsContent content = state();
  content.metadata = metadata;
  content.metadata.try_emplace("producer", "libminidl " MINIDL_VERSION);
  write_safetensors(path, content);
}

void Module::load(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  std::map<std::string, Stored> stored;
  for (const auto& [name, info] : reader.tensors()) {
    stored[name] = {info.dtype, info.shape, [&reader, &name = name] { return reader.read(name); }};
  }
  load_stored(std::move(stored), path.string());
}

void Module::load_stored(std::map<std::string, Stored> stored, const std::string& source) {
  std::vector<Entry> entries = all_entries();
  NameList missing, unexpected, unfitting;
  std::vector<std::function<Tensor()>> readers;
  for (const Entry& entry : entries) {
    const auto found = stored.extract(entry.name);
    if (found.empty()) {
      missing.add(entry.name);
      continue;
    }
    const Stored& tensor = found.mapped();
    const Shape expected = file_shape(entry.value.shape());
    if (tensor.shape != expected) {
      unfitting.add(entry.name + " " + tensor.shape.str() + " instead of " + expected.str());
    } else if (tensor.dtype != Dtype::f32 && tensor.dtype != Dtype::f16 && tensor.dtype != Dtype::bf16) {
      unfitting.add(entry.name + " of type " + to_string(tensor.dtype) + " instead of f32");
    }
    readers.push_back(tensor.read);
  }
  for (const auto& rest : stored) unexpected.add(rest.first);
  MINIDL_CHECK(missing.empty() && unexpected.empty() && unfitting.empty(),
               "[module] {} does not fit this network{}{}{}; nothing was loaded", source, missing.str("missing"),
               unexpected.str("unexpected"), unfitting.str("of another shape or type"));

  std::vector<Tensor> values;  // all of them first: a failing read changes nothing
  for (const auto& read : readers) values.push_back(read().to(Dtype::f32));
  for (size_t i = 0; i < entries.size(); ++i) {
    Tensor& target = entries[i].value.mutable_value();
    const Tensor value = values[i].shape().rank() == 4 ? to_channels_last(values[i]) : values[i];
    target.copy_from(value.to(target.device()));
  }
}

}  // namespace minidl::layers
