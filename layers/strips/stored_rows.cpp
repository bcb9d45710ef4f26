#include <minidl/kernels/half.h>
#include <minidl/kernels/reduce.h>
#include <minidl/layers/strips/stored_rows.h>

#include <algorithm>
#include <cstring>

namespace minidl::layers {
namespace {

Tensor tensor_of(const std::vector<double>& values, double factor) {
  Tensor tensor = Tensor::empty({static_cast<int64_t>(values.size())});
  std::transform(values.begin(), values.end(), tensor.data<float>(),
                 [&](double value) { return static_cast<float>(factor * value); });
  return tensor;
}

}  // namespace

RowMap RowMap::of(const Tensor& map) {
  const Shape shape = map.shape();
  const int64_t row = shape[2] * shape[3];
  return {shape[1], shape[2], shape[3], [=](int64_t begin, int64_t end, Tensor& output) {
            std::copy_n(map.data<float>() + begin * row, (end - begin) * row, output.data<float>());
          }};
}

Tensor RowMap::rows(int64_t begin, int64_t end) const {
  Tensor output = Tensor::empty({1, end - begin, width, channels});
  read(begin, end, output);
  return output;
}

Tensor padded_rows(const RowMap& map, int64_t begin, int64_t end, Padding::Mode mode) {
  if (begin >= 0 && end <= map.height) return map.rows(begin, end);
  std::vector<int64_t> sources;
  int64_t first = map.height, last = -1;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t source = sources.emplace_back(padded_index(row, map.height, mode));
    if (source < 0) continue;
    first = std::min(first, source);
    last = std::max(last, source);
  }
  Tensor output = Tensor::empty({1, end - begin, map.width, map.channels});
  const Tensor inside = last < 0 ? Tensor() : map.rows(first, last + 1);
  const int64_t row = map.width * map.channels;
  float* to = output.data<float>();
  for (const int64_t source : sources) {
    if (source < 0) {
      std::fill_n(to, row, 0.0f);
    } else {
      std::copy_n(inside.data<float>() + (source - first) * row, row, to);
    }
    to += row;
  }
  return output;
}

StoredRows::StoredRows(int64_t height, int64_t width, int64_t channels, int64_t strip_rows, Dtype storage)
    : height_(height),
      width_(width),
      channels_(channels),
      strip_rows_(strip_rows),
      storage_(storage),
      strips_(static_cast<size_t>((height + strip_rows - 1) / strip_rows)) {}

void StoredRows::put(int64_t strip, const Tensor& rows) {
  Tensor& stored = strips_[static_cast<size_t>(strip)];
  if (storage_ == Dtype::f32) {
    stored = rows;
  } else {
    stored = Tensor::empty(rows.shape(), storage_);
    to_half(rows, stored);
  }
}

void StoredRows::drop_before(int64_t row) {
  for (int64_t strip = 0; strip < strip_count() && end_of(strip) <= row; ++strip)
    strips_[static_cast<size_t>(strip)] = Tensor();
}

RowMap StoredRows::map(const Pass& pass) const {
  return {height_, width_, channels_,
          [this, pass](int64_t begin, int64_t end, Tensor& output) { read(begin, end, pass, output); }};
}

void StoredRows::read(int64_t begin, int64_t end, const Pass& pass, Tensor& output) const {
  /// Rows of a tensor [1, rows, width, channels].
  const auto rows_of = [&](const Tensor& rows, int64_t first, int64_t last) {
    const Tensor flat = rows.reshape({rows.shape()[1], width_ * channels_});
    return flat.slice(first, last).reshape({1, last - first, width_, channels_});
  };
  for (int64_t from = begin; from < end;) {
    const int64_t strip = from / strip_rows_, to = std::min(end, end_of(strip));
    const Tensor& stored = strips_[static_cast<size_t>(strip)];
    MINIDL_CHECK(stored, "[strips] rows {} to {} of {} are not there any more", begin, end, height_);
    const Tensor part = rows_of(stored, from - begin_of(strip), to - begin_of(strip));
    Tensor place = rows_of(output, from - begin, to - begin);
    if (storage_ == Dtype::f16) {
      from_half(part, place);
      if (pass) pass(place, place);
    } else if (pass) {
      pass(part, place);
    } else {
      place.copy_from(part);
    }
    from = to;
  }
}

void ChannelStatistics::add(const Tensor& part) {
  ChannelStatistics own;
  const auto channels = static_cast<size_t>(part.shape()[part.shape().rank() - 1]);
  own.mean_.resize(channels);
  own.squares_.resize(channels);
  own.count_ = static_cast<double>(part.count()) / static_cast<double>(channels);
  channel_moments(part, own.mean_, own.squares_);
  for (double& value : own.squares_) value *= own.count_;
  add(own);
}

void ChannelStatistics::add(const ChannelStatistics& part) {
  if (mean_.empty()) {
    *this = part;
    return;
  }
  const double together = count_ + part.count_;
  for (size_t c = 0; c < mean_.size(); ++c) {
    const double difference = part.mean_[c] - mean_[c];
    mean_[c] += difference * part.count_ / together;
    squares_[c] += part.squares_[c] + difference * difference * count_ * part.count_ / together;
  }
  count_ = together;
}

Tensor ChannelStatistics::mean() const {
  return tensor_of(mean_, 1.0);
}

Tensor ChannelStatistics::variance() const {
  return tensor_of(squares_, 1.0 / count_);
}

}  // namespace minidl::layers
