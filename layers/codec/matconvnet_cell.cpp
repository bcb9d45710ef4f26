#include <minidl/core/codec/safetensors_header.h>
#include <minidl/core/error.h>
#include <minidl/layers/codec/matconvnet_cell.h>

#include <cmath>
#include <optional>

namespace minidl::layers {
namespace {

using detail::MatArray;
using detail::MatClass;
using Kind = LayerDescription::Kind;

/// One cell and its fields by name. A field that is empty counts as one that is not there.
class CellReader {
 public:
  CellReader(const std::string& file, const MatArray& cell) : file_(file), cell_(cell) {
    if (cell.type != MatClass::structure || cell.count() != 1) {
      reject(cell, "is " + cell.str() + ", expected struct 1 x 1: a layer");
    }
  }

  const MatArray* field(std::string_view name) const {
    const MatArray* found = cell_.field(name);
    return found && found->count() > 0 ? found : nullptr;
  }

  /// Empty when the field is not there.
  std::string text(std::string_view name) const {
    const MatArray* found = field(name);
    if (found && found->type != MatClass::text) reject(*found, "is " + found->str() + ", expected text");
    return found ? found->text : "";
  }

  /// Whole numbers, as many as one of `counts` says; nothing when the field is not there.
  std::vector<int64_t> integers(std::string_view name, std::initializer_list<int64_t> counts) const {
    const MatArray* found = field(name);
    if (!found) return {};
    bool expected = false;
    std::string list;
    for (const int64_t count : counts) {
      expected = expected || (found->is_number() && found->count() == count);
      list += (list.empty() ? "" : " or ") + std::to_string(count);
    }
    if (!expected) reject(*found, "is " + found->str() + ", expected " + list + " numbers");
    std::vector<int64_t> result;
    for (const double value : found->values) {
      if (!(std::abs(value) < 1e9) || value != std::floor(value)) {
        reject(*found, "is " + detail::text(value) + ", expected a whole number");
      }
      result.push_back(static_cast<int64_t>(value));
    }
    return result;
  }

  [[noreturn]] void reject(const MatArray& array, const std::string& what) const {
    fail("[matconvnet] '{}': {} {}", file_, array.path, what);
  }
  const MatArray& cell() const { return cell_; }

 private:
  const std::string& file_;
  const MatArray& cell_;
};

std::optional<Kind> kind_of(const CellReader& reader, const std::string& name) {
  const std::string type = reader.text("type");
  if (type == "conv") return Kind::conv;
  if (type == "relu") return Kind::relu;
  if (type == "pool") return Kind::pool;
  if (type == "softmax") return Kind::softmax;
  if (type == "dropout") return std::nullopt;
  reader.reject(reader.cell(), "(layer " + detail::printable(name) + ") has type " + detail::printable(type) +
                                   "; networks of conv, relu, pool, softmax and dropout layers are supported");
}

/// `pad` is one number or [top bottom left right], `stride` one or [vertical horizontal].
Window read_window(const CellReader& reader) {
  Window window;
  std::vector<int64_t> stride = reader.integers("stride", {1, 2});
  if (stride.size() == 1) stride.push_back(stride[0]);
  if (!stride.empty()) {
    window.stride_h = stride[0];
    window.stride_w = stride[1];
  }
  std::vector<int64_t> pad = reader.integers("pad", {1, 4});
  if (pad.size() == 1) pad.resize(4, pad[0]);
  if (!pad.empty()) window.padding = {Padding::Mode::zero, pad[0], pad[1], pad[2], pad[3]};
  return window;
}

void read_conv(const CellReader& reader, MatConvNetCell& result) {
  const MatArray* weights = reader.field("weights");
  if (weights) {
    if (weights->type != MatClass::cell || weights->count() > 2) {
      reader.reject(*weights, "is " + weights->str() + ", expected a cell {filters, bias}");
    }
    result.filters = &weights->children[0];
    if (weights->count() == 2) result.bias = &weights->children[1];
  } else {
    result.filters = reader.field("filters");
    result.bias = reader.field("biases");
  }
  if (!result.filters) reader.reject(reader.cell(), "is a convolution without a field 'weights' or 'filters'");
  const MatArray& filters = *result.filters;
  // MATLAB drops trailing dimensions of extent 1.
  std::vector<int64_t> dims = filters.dims;
  while (dims.size() > 4 && dims.back() == 1) dims.pop_back();
  const bool is_float = filters.type == MatClass::f32 || filters.type == MatClass::f64;
  if (!is_float || dims.size() > 4 || filters.count() == 0) {
    reader.reject(filters, "is " + filters.str() + ", expected single or double height x width x in x out");
  }
  dims.resize(4, 1);
  LayerDescription& layer = result.layer;
  layer.k_h = dims[0];
  layer.k_w = dims[1];
  layer.in_c = dims[2];
  layer.out_c = dims[3];
  if (result.bias && result.bias->count() == 0) result.bias = nullptr;
  if (result.bias) {
    const bool is_number = result.bias->type == MatClass::f32 || result.bias->type == MatClass::f64;
    if (!is_number || result.bias->count() != layer.out_c) {
      reader.reject(*result.bias, "is " + result.bias->str() + ", expected a bias of " + std::to_string(layer.out_c) +
                                      " numbers for filters " + filters.str());
    }
  }
  for (const int64_t dilate : reader.integers("dilate", {1, 2})) {
    if (dilate != 1) reader.reject(reader.cell(), "is a dilated convolution, which is not supported");
  }
}

void read_pool(const CellReader& reader, LayerDescription& layer) {
  std::vector<int64_t> pool = reader.integers("pool", {1, 2});
  if (pool.empty()) reader.reject(reader.cell(), "pools without a field 'pool'");
  if (pool.size() == 1) pool.push_back(pool[0]);
  layer.k_h = pool[0];
  layer.k_w = pool[1];
  const std::string method = reader.text("method");
  if (!method.empty() && method != "max" && method != "avg") {
    reader.reject(reader.cell(), "pools by " + detail::printable(method) + ", expected 'max' or 'avg'");
  }
  layer.pool = method == "avg" ? PoolKind::average : PoolKind::max;
}

void read_relu(const CellReader& reader) {
  const MatArray* leak = reader.field("leak");
  if (leak && (leak->values.size() != 1 || leak->values[0] != 0.0)) {
    reader.reject(*leak, "makes a leaky ReLU, which is not supported");
  }
}

/// Counts blocks between pools, as VGG's names do.
class NameDeriver {
 public:
  /// Takes note of every layer in order; returns the name by position.
  std::string next(const LayerDescription& layer) {
    switch (layer.kind) {
      case Kind::conv: {
        // A fully connected layer is a large window without padding behind a pool, or what follows such a one.
        fully_connected_ = fully_connected_ || (block_ > 1 && !layer.window.padding.any() && layer.k_h > 3);
        ++index_;
        return fully_connected_ ? "fc" + number() : "conv" + number();
      }
      case Kind::relu:
        return "relu" + number();
      case Kind::pool: {
        std::string name = "pool" + std::to_string(block_);
        ++block_;
        index_ = 0;
        return name;
      }
      case Kind::softmax:
        break;
    }
    return "prob";
  }

 private:
  std::string number() const {
    return fully_connected_ ? std::to_string(block_ + index_ - 1)
                            : std::to_string(block_) + "_" + std::to_string(index_);
  }

  int block_ = 1, index_ = 0;
  bool fully_connected_ = false;
};

}  // namespace

std::vector<MatConvNetCell> read_cells(const std::string& file, const MatArray& layers) {
  MINIDL_CHECK(layers.type == MatClass::cell, "[matconvnet] '{}': layers is {}, expected a cell of layers", file,
               layers.str());
  std::vector<MatConvNetCell> result;
  NameDeriver deriver;
  for (const MatArray& array : layers.children) {
    const CellReader reader(file, array);
    MatConvNetCell cell;
    cell.layer.name = reader.text("name");
    const std::optional<Kind> kind = kind_of(reader, cell.layer.name);
    if (!kind) continue;
    cell.layer.kind = *kind;
    if (kind == Kind::conv || kind == Kind::pool) cell.layer.window = read_window(reader);
    if (kind == Kind::conv) read_conv(reader, cell);
    if (kind == Kind::pool) read_pool(reader, cell.layer);
    if (kind == Kind::relu) read_relu(reader);
    const std::string derived = deriver.next(cell.layer);
    if (cell.layer.name.empty()) cell.layer.name = derived;
    result.push_back(std::move(cell));
  }
  return result;
}

}  // namespace minidl::layers
