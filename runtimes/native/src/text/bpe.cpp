#include "text/bpe.hpp"

#include <algorithm>
#include <cstddef>
#include <queue>
#include <utility>

namespace samclip {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

// A piece of the word, in a list of neighbours.
struct Piece {
    int32_t id;
    size_t before, behind;
    bool gone = false;
};

// That a piece may join with the one behind it, when this was found.
struct Candidate {
    int32_t rank, made;
    size_t at;

    bool operator<(const Candidate& other) const {  // the top of the queue: the lowest rank, the first of them
        return rank != other.rank ? rank > other.rank : at > other.at;
    }
};

std::pair<int32_t, int32_t> neighbours(const Merge& merge) { return {merge.left, merge.right}; }

}  // namespace

Bpe::Bpe(const std::array<int32_t, 512>& letters, std::vector<Merge> merges)
    : letters_(letters), merges_(std::move(merges)) {
    std::sort(merges_.begin(), merges_.end(), [](const Merge& a, const Merge& b) {
        return neighbours(a) != neighbours(b) ? neighbours(a) < neighbours(b) : a.rank > b.rank;
    });
    const auto same = [](const Merge& a, const Merge& b) { return neighbours(a) == neighbours(b); };
    merges_.erase(std::unique(merges_.begin(), merges_.end(), same), merges_.end());
}

const Merge* Bpe::find(int32_t left, int32_t right) const {
    const auto found =
        std::lower_bound(merges_.begin(), merges_.end(), std::pair(left, right),
                         [](const Merge& merge, const auto& wanted) { return neighbours(merge) < wanted; });
    return found != merges_.end() && neighbours(*found) == std::pair(left, right) ? &*found : nullptr;
}

void Bpe::append(std::string_view word, std::vector<int32_t>& ids) const {
    std::vector<Piece> pieces;
    pieces.reserve(word.size());
    for (size_t i = 0; i < word.size(); ++i) {
        const size_t byte = static_cast<unsigned char>(word[i]);
        const int32_t id = letters_[i + 1 == word.size() ? 256 + byte : byte];
        if (id != kNoToken) pieces.push_back({id, pieces.empty() ? kNone : pieces.size() - 1, pieces.size() + 1});
    }
    if (!pieces.empty()) pieces.back().behind = kNone;

    std::priority_queue<Candidate> queue;
    const auto consider = [&](size_t at) {
        if (at == kNone || pieces[at].behind == kNone) return;
        if (const Merge* merge = find(pieces[at].id, pieces[pieces[at].behind].id)) {
            queue.push({merge->rank, merge->made, at});
        }
    };
    for (size_t i = 0; i < pieces.size(); ++i) consider(i);
    while (!queue.empty()) {
        const Candidate best = queue.top();
        queue.pop();
        Piece& left = pieces[best.at];
        if (left.gone || left.behind == kNone) continue;
        Piece& right = pieces[left.behind];
        const Merge* merge = find(left.id, right.id);
        if (!merge || merge->made != best.made) continue;  // one of the two has become another piece since
        left.id = best.made;
        left.behind = right.behind;
        right.gone = true;
        if (left.behind != kNone) pieces[left.behind].before = best.at;
        consider(left.before);
        consider(best.at);
    }
    for (const Piece& piece : pieces) {
        if (!piece.gone) ids.push_back(piece.id);
    }
}

}  // namespace samclip
