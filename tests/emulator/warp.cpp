#include <emulator/warp.h>

namespace minidl::emulator {

Ballot ballot(uint32_t mask, bool predicate, Location location) {
  const unsigned char input = predicate ? 1 : 0;
  Ballot output;
  current_block->collective(mask, &input, 1, &output, sizeof output, location, [](Collective& warp, uint32_t lanes) {
    Ballot votes{0, lanes};
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if ((lanes >> lane & 1) != 0 && warp.inputs[lane][0] != 0) votes.yes |= 1u << lane;
    }
    for (auto& slot : warp.outputs) std::memcpy(slot.data(), &votes, sizeof votes);
  });
  return output;
}

}  // namespace minidl::emulator
