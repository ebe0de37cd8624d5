package org.eellm.data.tokenizer;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eellm.data.OrderedBatches;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.word.WordCutter;

/** How often each of GPT-2's words is in a corpus. */
final class WordCounts {
  /** Longer ones are data, not language: they are left out. */
  private static final int MAX_WORD_LENGTH = 256;

  /** When there are more, the rarest are forgotten, so that memory is bounded. */
  private static final int MAX_WORDS = 5_000_000;

  private WordCounts() {}

  static Map<String, Long> of(Corpus corpus, int threads, Progress progress) {
    Map<String, Long> total = new HashMap<>();
    try (Corpus.DocumentReader pass = corpus.open()) {
      OrderedBatches.process(
          corpus,
          pass,
          threads,
          WordCounts::count,
          counts -> {
            counts.forEach((word, count) -> total.merge(word, count, Long::sum));
            for (long rare = 1; total.size() > MAX_WORDS; rare++) {
              long limit = rare;
              total.values().removeIf(count -> count <= limit);
            }
          },
          progress.of(Progress.Work.COUNTING_WORDS));
    }
    return total;
  }

  private static Map<String, Long> count(List<Corpus.DocumentChunk> pieces) {
    Map<String, Long> counts = new HashMap<>();
    for (Corpus.DocumentChunk piece : pieces) {
      if (piece.chat().isPresent()) {
        throw piece.chat().get().refusal();
      }
      String text = piece.text();
      for (long word = WordCutter.GPT_2_WORD.next(text, 0, text.length());
          word >= 0;
          word = WordCutter.GPT_2_WORD.next(text, (int) word, text.length())) {
        int from = (int) (word >>> Integer.SIZE);
        int to = (int) word;
        if (to - from <= MAX_WORD_LENGTH) {
          counts.merge(text.substring(from, to), 1L, Long::sum);
        }
      }
    }
    return counts;
  }
}
