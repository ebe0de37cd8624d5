package org.eellm.decode.precedent;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.eellm.decode.token.Tokens;
import org.junit.jupiter.api.Test;

final class RecentRepliesTest {
  private static final int MOST = 1 << 11;

  private static Tokens reply(Random random, int ids) {
    Tokens tokens = new Tokens(List.of(random.nextInt(ids), random.nextInt(ids)), 400);
    int size = 20 + random.nextInt(300);
    while (tokens.size() < size) {
      tokens.append(random.nextInt(ids));
    }
    return tokens;
  }

  private static List<Integer> list(Tokens tokens) {
    return tokens.range(0, tokens.size());
  }

  private static Outlook outlook(List<Integer> text) {
    Outlook outlook = new Outlook(new Tokens(text, text.size()), 64);
    while (outlook.isBehind()) {
      outlook.advance();
    }
    return outlook;
  }

  /** What followed the newest place behind so many of a text's last tokens; -1 if there is none. */
  private static int follower(List<List<Integer>> replies, List<Integer> text, int length) {
    List<Integer> suffix = text.subList(text.size() - length, text.size());
    for (List<Integer> reply : replies.reversed()) {
      for (int place = reply.size() - 1; place >= length; place--) {
        if (reply.subList(place - length, place).equals(suffix)) {
          return reply.get(place);
        }
      }
    }
    return -1;
  }

  @Test
  void find_randomReplies_isTheNewestPlaceOfTheLongestSuffix() {
    Random random = new Random(1);
    RecentReplies replies = new RecentReplies(MOST);
    List<List<Integer>> kept = new ArrayList<>();
    int[] found = new int[17];
    int lost = 0;
    for (int i = 0; i < 200; i++) {
      // Of 3 ids texts match by chance, and copies match at length.
      Tokens reply = reply(random, 3);
      replies.add(reply, reply.size());
      kept.add(list(reply));
      while (kept.stream().mapToInt(one -> one.size() + 1).sum() > MOST) {
        kept.removeFirst(); // the ring may have some of its tokens yet
      }
      for (int k = 0; k < 20; k++) {
        List<Integer> source = kept.get(random.nextInt(kept.size()));
        int from = random.nextInt(source.size());
        List<Integer> text = new ArrayList<>(list(reply(random, 3)));
        text.addAll(source.subList(from, Math.min(source.size(), from + random.nextInt(20))));
        int longest = follower(kept, text, 16) >= 0 ? 16 : follower(kept, text, 8) >= 0 ? 8 : 4;
        int expected = follower(kept, text, longest);
        int place = replies.find(outlook(text));
        int ours = place < 0 ? -1 : replies.at(place);
        if (place >= 0) {
          assertThat(replies.matchLength(outlook(text), place)).isGreaterThanOrEqualTo(4);
        }
        found[longest] += ours == expected ? 1 : 0;
        lost += ours == expected ? 0 : 1;
      }
    }

    // Contexts share the index's slots, and the newest has its slot: few are lost.
    assertThat(lost).isLessThan(400);
    assertThat(found[4]).isGreaterThan(500);
    assertThat(found[8]).isGreaterThan(500);
    assertThat(found[16]).isGreaterThan(200);
  }

  @Test
  void find_replyThatTheRingHasWrittenOver_isNoMore() {
    RecentReplies replies = new RecentReplies(MOST);
    Tokens first = new Tokens(List.of(1, 2, 3, 4, 5, 6, 7, 8), 100);
    replies.add(first, 8);
    assertThat(replies.at(replies.find(outlook(List.of(1, 2, 3, 4))))).isEqualTo(5);
    Random random = new Random(1);
    for (int i = 0; i < 50; i++) {
      Tokens reply = new Tokens(List.of(0), 91);
      random.ints(90, 10, 1000).forEach(reply::append);
      replies.add(reply, reply.size());
    }

    assertThat(replies.find(outlook(List.of(1, 2, 3, 4)))).isNegative();
  }

  @Test
  void find_endOfAReply_doesNotGoOnIntoTheNext() {
    RecentReplies replies = new RecentReplies(MOST);
    replies.add(new Tokens(List.of(1, 2, 3, 4), 4), 4);
    replies.add(new Tokens(List.of(5, 6, 7, 8), 4), 4);

    assertThat(replies.find(outlook(List.of(1, 2, 3, 4)))).isNegative();
    assertThat(replies.find(outlook(List.of(3, 4, 5, 6)))).isNegative();
  }

  @Test
  void add_replyLongerThanTheRing_keepsItsEnd() {
    RecentReplies replies = new RecentReplies(MOST);
    List<Integer> ids = new Random(3).ints(3 * MOST, 0, 1 << 20).boxed().toList();
    replies.add(new Tokens(ids, ids.size()), ids.size());

    int end = ids.size();
    assertThat(replies.at(replies.find(outlook(ids.subList(end - 20, end - 1)))))
        .isEqualTo(ids.getLast());
    assertThat(replies.find(outlook(ids.subList(0, 20)))).isNegative();
  }
}
