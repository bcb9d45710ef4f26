// Each device function bit by bit against what its documentation says, on the emulated device and on hardware: where
// both pass, they agree. Skipped where there is no device.
#include <gpu/instructions.h>
#include <minidl/core/dtype.h>
#include <minidl/core/tensor.h>
#include <support/cuda_device.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>

namespace minidl::cuda {
namespace {

using Row = std::vector<uint32_t>;  // 32 words
using Rows = std::vector<Row>;

using test::kCudaDevice;

class CudaInstructions : public test::OnCudaDevice {
 protected:
  /// `count` rows of what an instruction writes over zeros.
  static Rows run(void (*instruction)(const uint32_t*, uint32_t*), const Rows& input, size_t count) {
    std::vector<uint32_t> words;
    for (const Row& row : input) words.insert(words.end(), row.begin(), row.end());
    words.resize(size_t{32} * kInstructionRows);
    const auto bytes = static_cast<int64_t>(words.size() * sizeof(uint32_t));
    Tensor there = Tensor::empty({bytes}, Dtype::u8, kCudaDevice),
           results = Tensor::zeros({bytes}, Dtype::u8, kCudaDevice);
    copy(there.raw(), kCudaDevice, words.data(), Device::cpu(), static_cast<size_t>(bytes));
    instruction(reinterpret_cast<const uint32_t*>(there.raw()), reinterpret_cast<uint32_t*>(results.raw()));
    copy(words.data(), Device::cpu(), results.raw(), kCudaDevice, static_cast<size_t>(bytes));
    Rows rows;
    for (size_t i = 0; i < count; ++i) rows.emplace_back(words.begin() + 32 * i, words.begin() + 32 * (i + 1));
    return rows;
  }
};

Rows random_rows(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  Rows rows(count, Row(32));
  for (Row& row : rows) std::generate(row.begin(), row.end(), std::ref(generator));
  return rows;
}

/// f(lane) of each lane.
template <typename F>
Row row_of(const F& f) {
  Row row(32);
  for (int lane = 0; lane < 32; ++lane) {
    const auto value = f(lane);
    if constexpr (std::is_same_v<decltype(value), const float>) {
      row[lane] = std::bit_cast<uint32_t>(value);
    } else {
      row[lane] = static_cast<uint32_t>(value);
    }
  }
  return row;
}

float small(uint32_t bits) {
  return static_cast<float>(static_cast<int>(bits % 128) - 64);
}

TEST_F(CudaInstructions, Shuffles) {
  const Rows input = random_rows(1, 1), output = run(run_shuffles, input, 7);
  const Row& x = input[0];
  EXPECT_EQ(output[0], row_of([&](int) { return x[5]; }));
  EXPECT_EQ(output[1], row_of([&](int lane) { return x[lane / 8 * 8 + 3]; }));
  EXPECT_EQ(output[2], row_of([&](int lane) { return x[lane < 2 ? lane : lane - 2]; }));
  EXPECT_EQ(output[3], row_of([&](int lane) { return x[lane % 16 + 3 > 15 ? lane : lane + 3]; }));
  EXPECT_EQ(output[4], row_of([&](int lane) { return x[lane ^ 6]; }));
  const auto third = [&](int lane) { return std::bit_cast<uint64_t>(x[lane + 8 < 32 ? lane + 8 : lane] / 3.0); };
  EXPECT_EQ(output[5], row_of(third));
  EXPECT_EQ(output[6], row_of([&](int lane) { return third(lane) >> 32; }));
}

TEST_F(CudaInstructions, Votes) {
  const Rows input = random_rows(1, 2), output = run(run_votes, input, 5);
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane) votes |= static_cast<uint32_t>(input[0][lane] % 3 == 0) << lane;
  ASSERT_TRUE(votes != 0 && votes != 0xffffffffu);
  EXPECT_EQ(output[0], Row(32, votes));
  EXPECT_EQ(output[1], Row(32, 1));
  EXPECT_EQ(output[2], Row(32, 0));
  EXPECT_EQ(output[3], Row(32, 0));
  EXPECT_EQ(output[4], Row(32, 1));
}

TEST_F(CudaInstructions, WarpReductions) {
  const Rows input = random_rows(1, 3), output = run(run_warp_reductions, input, 6);
  const Row& x = input[0];
  const auto by = [](uint32_t a, uint32_t b) { return static_cast<int>(a) < static_cast<int>(b); };
  EXPECT_EQ(output[0], Row(32, std::accumulate(x.begin(), x.end(), 0u)));
  EXPECT_EQ(output[1], Row(32, *std::min_element(x.begin(), x.end(), by)));
  EXPECT_EQ(output[2], Row(32, *std::max_element(x.begin(), x.end(), by)));
  EXPECT_EQ(output[3], Row(32, std::accumulate(x.begin(), x.end(), ~0u, std::bit_and<>())));
  EXPECT_EQ(output[4], Row(32, std::accumulate(x.begin(), x.end(), 0u, std::bit_or<>())));
  EXPECT_EQ(output[5], Row(32, std::accumulate(x.begin(), x.end(), 0u, std::bit_xor<>())));
}

TEST_F(CudaInstructions, Integers) {
  const Rows input = random_rows(2, 4), output = run(run_integers, input, 6);
  const auto a = [&](int lane) { return static_cast<int>(input[0][lane]); };
  const auto b = [&](int lane) { return static_cast<int>(input[1][lane]); };
  EXPECT_EQ(output[0], row_of([&](int lane) { return std::popcount(input[0][lane]); }));
  EXPECT_EQ(output[1], row_of([&](int lane) { return std::min(a(lane), b(lane)); }));
  EXPECT_EQ(output[2], row_of([&](int lane) { return std::max(a(lane), b(lane)); }));
  EXPECT_EQ(output[3], row_of([&](int lane) { return std::abs(a(lane)); }));
  EXPECT_EQ(output[4], row_of([&](int lane) { return a(lane) / (b(lane) | 1); }));
  EXPECT_EQ(output[5], row_of([&](int lane) { return a(lane) % (b(lane) | 1); }));
}

TEST_F(CudaInstructions, Floats) {
  const Rows input = random_rows(3, 5), output = run(run_floats, input, 6);
  const auto at = [&](int row, int lane) { return small(input[row][lane]); };
  const auto quotient = [&](int lane) {
    return static_cast<double>(at(0, lane)) / (static_cast<double>(at(1, lane)) + 0.5);
  };
  EXPECT_EQ(output[0], row_of([&](int lane) {
              return std::fma(1.0f + at(0, lane) * 0x1p-13f, 1.0f + at(1, lane) * 0x1p-13f,
                              -1.0f + at(2, lane) * 0x1p-20f);
            }));
  EXPECT_EQ(output[1], row_of([&](int lane) { return at(0, lane) / (at(1, lane) + 0.5f); }));
  EXPECT_EQ(output[2], row_of([&](int lane) { return std::sqrt(std::fabs(at(0, lane))); }));
  EXPECT_EQ(output[3], row_of([&](int lane) { return std::bit_cast<uint64_t>(quotient(lane)); }));
  EXPECT_EQ(output[4], row_of([&](int lane) { return std::bit_cast<uint64_t>(quotient(lane)) >> 32; }));
  EXPECT_EQ(output[5], row_of([&](int lane) { return static_cast<float>(std::max(std::fabs(quotient(lane)), 2.0)); }));
}

/// x with `bits` of its mantissa, to nearest; ties do not occur among sevenths.
float rounded(float x, int bits) {
  int exponent = 0;
  const double mantissa = std::frexp(static_cast<double>(x), &exponent);
  return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(mantissa, bits + 1)), exponent - bits - 1));
}

TEST_F(CudaInstructions, Conversions) {
  const Rows input = random_rows(1, 6), output = run(run_conversions, input, 5);
  const auto seventh = [&](int lane) { return small(input[0][lane]) / 7.0f; };
  EXPECT_EQ(output[3], row_of([&](int lane) { return rounded(seventh(lane), 10); }));
  EXPECT_EQ(output[4], row_of([&](int lane) { return rounded(seventh(lane), 7); }));
  EXPECT_EQ(output[1], row_of([&](int lane) { return std::bit_cast<uint32_t>(rounded(seventh(lane), 7)) >> 16; }));
  EXPECT_EQ(output[0], row_of([&](int lane) {
              const float x = rounded(seventh(lane), 10);
              const auto bits = std::bit_cast<uint32_t>(x);
              const uint32_t sign = bits >> 31 << 15, magnitude = (bits & 0x7fffffffu) >> 13;
              return x == 0.0f ? sign : sign | (magnitude - ((127 - 15) << 10));
            }));
  for (int lane = 0; lane < 32; ++lane) {  // the lowest 13 bits of TF32 are not defined
    EXPECT_EQ(output[2][lane] >> 13, std::bit_cast<uint32_t>(rounded(seventh(lane), 10)) >> 13) << lane;
  }
}

TEST_F(CudaInstructions, Tf32Operands) {
  Rows input = random_rows(1, 8);
  const Row special{0x7f800000, 0xff800000, 0x7fffffff, 0x7f802000, 0x7fc00000, 0xffc00000, 0xffffefff, 0x7f7fffff,
                    0xff7fffff, 0x3f801000, 0xbf801000, 0x3f800fff, 0x00000001, 0x80001000, 0x00000000, 0x80000000};
  std::copy(special.begin(), special.end(), input[0].begin());
  const Rows output = run(run_tf32, input, 2);
  for (int lane = 0; lane < 32; ++lane) {
    const auto x = std::bit_cast<float>(input[0][lane]);
    for (const Row& row : output) {
      const uint32_t operand = row[lane] & 0xffffe000u;
      SCOPED_TRACE(::testing::Message() << std::hex << input[0][lane] << " became " << row[lane]);
      if (std::isnan(x)) {
        EXPECT_TRUE(std::isnan(std::bit_cast<float>(operand)));
      } else if (std::isinf(x)) {
        EXPECT_EQ(operand, input[0][lane]);
      } else {
        EXPECT_EQ(operand, (input[0][lane] + 0x1000) & 0xffffe000u);
      }
    }
  }
}

/// An integer in [-4, 4].
int element(int row, int column, int salt) {
  return (row * 7 + column * 5 + salt) % 9 - 4;
}

TEST_F(CudaInstructions, TensorCoresOnIntegers) {
  const auto a = [](int i, int k) { return element(i, k, 1); };
  const auto b = [](int k, int j) { return element(k, j, 5); };
  const auto expected = [&](int terms) {
    Rows rows;
    for (int e = 0; e < 4; ++e) {
      rows.push_back(row_of([&](int lane) {
        const int i = lane / 4 + e / 2 * 8, j = lane % 4 * 2 + e % 2;
        int sum = 1;
        for (int k = 0; k < terms; ++k) sum += a(i, k) * b(k, j);
        return static_cast<float>(sum);
      }));
    }
    return rows;
  };
  Rows tf32, bf16, f16;
  const auto bf16_bits = [](int value) { return uint32_t{float_to_bfloat16(static_cast<float>(value))}; };
  const auto f16_bits = [](int value) { return uint32_t{float_to_half(static_cast<float>(value))}; };
  const auto pair = [](const auto& bits, int first, int second) { return bits(first) | bits(second) << 16; };
  for (int r = 0; r < 4; ++r) {
    tf32.push_back(row_of([&](int lane) { return static_cast<float>(a(lane / 4 + r % 2 * 8, lane % 4 + r / 2 * 4)); }));
    const auto pairs = [&](const auto& bits) {
      return row_of([&](int lane) {
        const int i = lane / 4 + r % 2 * 8, k = lane % 4 * 2 + r / 2 * 8;
        return pair(bits, a(i, k), a(i, k + 1));
      });
    };
    bf16.push_back(pairs(bf16_bits));
    f16.push_back(pairs(f16_bits));
  }
  for (int r = 0; r < 2; ++r) {
    tf32.push_back(row_of([&](int lane) { return static_cast<float>(b(lane % 4 + r * 4, lane / 4)); }));
    const auto pairs = [&](const auto& bits) {
      return row_of([&](int lane) {
        const int k = lane % 4 * 2 + r * 8, j = lane / 4;
        return pair(bits, b(k, j), b(k + 1, j));
      });
    };
    bf16.push_back(pairs(bf16_bits));
    f16.push_back(pairs(f16_bits));
  }
  EXPECT_EQ(run(run_mma_tf32, tf32, 4), expected(8));
  EXPECT_EQ(run(run_mma_bf16, bf16, 4), expected(16));
  EXPECT_EQ(run(run_mma_f16, f16, 4), expected(16));
}

TEST_F(CudaInstructions, MatricesFromSharedMemory) {
  const Rows input = random_rows(4, 7);
  const Rows output = run(run_ldmatrix, input, 10);
  // Row g of matrix i is the four words from lane 4 g on; each lane gets one of them: the layout is the same.
  EXPECT_EQ(Rows(output.begin(), output.begin() + 4), input);
  EXPECT_EQ(Rows(output.begin() + 8, output.end()), Rows(input.begin(), input.begin() + 2));
  for (int i = 0; i < 4; ++i) {
    const auto half = [&](int row, int column) { return input[i][4 * row + column / 2] >> column % 2 * 16 & 0xffffu; };
    EXPECT_EQ(output[4 + i], row_of([&](int lane) {
                const int g = lane / 4, t = lane % 4;
                return half(2 * t, g) | half(2 * t + 1, g) << 16;
              }));
  }
}

TEST_F(CudaInstructions, AsynchronousCopies) {
  const Rows input = random_rows(1, 8), output = run(run_async_copies, input, 3);
  for (int i = 0; i < 3; ++i) {
    const int words = 1 << i;
    EXPECT_EQ(output[i], row_of([&](int lane) { return lane / words % 3 == 0 ? 0u : input[0][lane]; })) << words;
  }
}

TEST_F(CudaInstructions, Atomics) {
  const Rows input = random_rows(1, 9), output = run(run_atomics, input, 1);
  std::vector<int> values;
  for (const uint32_t bits : input[0]) values.push_back(static_cast<int>(bits % 1000) - 500);
  Row expected(32);
  expected[0] = static_cast<uint32_t>(std::accumulate(values.begin(), values.end(), 0));
  expected[1] = static_cast<uint32_t>(*std::max_element(values.begin(), values.end()));
  expected[2] = static_cast<uint32_t>(*std::min_element(values.begin(), values.end()));
  expected[3] = static_cast<uint32_t>(values[7]);
  EXPECT_EQ(output[0], expected);
}

}  // namespace
}  // namespace minidl::cuda
