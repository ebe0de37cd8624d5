package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.stream.IntStream;
import org.eellm.data.DataException;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Corpus;
import org.eellm.gguf.TokenizerNodes;
import org.eellm.gguf.WordRule;

/**
 * Trains a byte-level byte-pair tokenizer as GPT-2's: from the 256 bytes on, the most frequent pair
 * of neighbouring tokens becomes a token, again and again.
 *
 * <p>Ids 0 to 255 are the bytes, then come the merges in order, then the end of text. The result
 * depends on the corpus alone: of equally frequent pairs the one with the lower ids is first. It is
 * found incrementally: a merge visits only the words that have its pair.
 */
public final class BpeTrainer {
  /** The bytes and the end of text. */
  public static final int MIN_VOCAB_SIZE = 257;

  /** A word of the corpus, as the tokens it has so far. */
  private static final class Word {
    final long count;
    int[] tokens;

    Word(int[] tokens, long count) {
      this.tokens = tokens;
      this.count = count;
    }
  }

  /** How often a pair occurs, and in which words; some of these may have lost it since. */
  private static final class Pair {
    long count;
    final List<Word> words = new ArrayList<>();
  }

  /** A pair's count when it was put into the queue; the pair's own may be lower by now. */
  private record Candidate(long pair, long count) {}

  private final List<String> pieces = new ArrayList<>(); // by id, in the byte alphabet
  private final List<String> merges = new ArrayList<>();
  private final Map<Long, Pair> pairs = new HashMap<>();
  private final PriorityQueue<Candidate> queue =
      new PriorityQueue<>(
          Comparator.comparingLong(Candidate::count).reversed().thenComparingLong(Candidate::pair));

  private BpeTrainer() {}

  /**
   * Trains a tokenizer.
   *
   * @param vocabSize number of tokens, at least {@value #MIN_VOCAB_SIZE}; the result has fewer if
   *     the text has no more pairs that occur twice
   * @param threads that count words
   * @throws DataException if the corpus has no text
   */
  public static Tokenizer train(Corpus corpus, int vocabSize, int threads, Progress progress) {
    if (vocabSize < MIN_VOCAB_SIZE) {
      throw new DataException(
          "a vocabulary of %d has no room for the 256 bytes and the end of text; use %d or more"
              .formatted(vocabSize, MIN_VOCAB_SIZE));
    }
    Map<String, Long> words = WordCounts.of(corpus, threads, progress);
    if (words.isEmpty()) {
      throw new DataException("the corpus has no text to train a tokenizer on; check the inputs");
    }
    BpeTrainer trainer = new BpeTrainer();
    trainer.start(words);
    trainer.merge(vocabSize - MIN_VOCAB_SIZE, progress);
    return trainer.tokenizer();
  }

  private void start(Map<String, Long> words) {
    List<Integer> bytes =
        IntStream.range(0, 256)
            .boxed()
            .sorted(Comparator.comparing(ByteAlphabet::character))
            .toList();
    int[] ids = new int[256];
    for (int value : bytes) {
      ids[value] = pieces.size();
      pieces.add(String.valueOf(ByteAlphabet.character(value)));
    }
    words.forEach(
        (text, count) -> {
          byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
          int[] tokens = new int[utf8.length];
          Arrays.setAll(tokens, i -> ids[utf8[i] & 0xFF]);
          Word word = new Word(tokens, count);
          for (int i = 0; i + 1 < tokens.length; i++) {
            add(pair(tokens[i], tokens[i + 1]), word);
          }
        });
    pairs.forEach((pair, state) -> queue.add(new Candidate(pair, state.count)));
  }

  private void merge(int wanted, Progress progress) {
    while (merges.size() < wanted && !queue.isEmpty()) {
      Candidate candidate = queue.remove();
      Pair state = pairs.get(candidate.pair());
      if (state == null) {
        continue;
      }
      if (state.count < candidate.count()) {
        queue.add(new Candidate(candidate.pair(), state.count));
        continue;
      }
      if (state.count < 2) {
        break;
      }
      merge(candidate.pair(), state);
      progress.report(Progress.Work.MERGING_PAIRS, merges.size(), wanted);
    }
    progress.report(Progress.Work.MERGING_PAIRS, wanted, wanted);
  }

  private void merge(long pair, Pair state) {
    int left = left(pair);
    int right = right(pair);
    int merged = pieces.size();
    pieces.add(pieces.get(left) + pieces.get(right));
    merges.add(pieces.get(left) + " " + pieces.get(right));
    pairs.remove(pair);
    Map<Long, Pair> created = new HashMap<>();
    for (Word word : state.words) {
      merge(word, left, right, merged, created);
    }
    created.forEach((key, pairState) -> queue.add(new Candidate(key, pairState.count)));
  }

  private void merge(Word word, int left, int right, int merged, Map<Long, Pair> created) {
    int[] before = word.tokens;
    int[] after = new int[before.length];
    int length = 0;
    int lastMerge = -2;
    for (int i = 0; i < before.length; i++) {
      if (i + 1 < before.length && before[i] == left && before[i + 1] == right) {
        // Each pair that overlaps this occurrence is gone, once: the one between two neighbouring
        // occurrences has been subtracted with the first.
        if (i > 0 && lastMerge != i - 2) {
          subtract(pair(before[i - 1], left), word);
        }
        if (i + 2 < before.length) {
          subtract(pair(right, before[i + 2]), word);
        }
        lastMerge = i;
        after[length++] = merged;
        i++;
      } else {
        after[length++] = before[i];
      }
    }
    word.tokens = Arrays.copyOf(after, length);
    for (int i = 0; i + 1 < length; i++) {
      if (after[i] == merged || after[i + 1] == merged) {
        long key = pair(after[i], after[i + 1]);
        created.put(key, add(key, word));
      }
    }
  }

  private Pair add(long pair, Word word) {
    Pair state = pairs.computeIfAbsent(pair, key -> new Pair());
    state.count += word.count;
    if (state.words.isEmpty() || state.words.getLast() != word) {
      state.words.add(word);
    }
    return state;
  }

  private void subtract(long pair, Word word) {
    Pair state = pairs.get(pair);
    if (state != null) { // else it is the pair being merged, which overlaps itself
      state.count -= word.count;
    }
  }

  private Tokenizer tokenizer() {
    Map<String, Integer> vocabulary = new HashMap<>();
    for (String piece : pieces) {
      vocabulary.put(piece, vocabulary.size());
    }
    vocabulary.put(TokenizerReader.END_OF_TEXT, vocabulary.size());
    ObjectNode file = WordRule.GPT_2.file(vocabulary, merges);
    addEndOfText(file);
    return TokenizerReader.of(
        file,
        JsonNodeFactory.instance
            .objectNode()
            .put("tokenizer_class", "PreTrainedTokenizerFast")
            .put("eos_token", TokenizerReader.END_OF_TEXT)
            .put("clean_up_tokenization_spaces", false),
        "the trained tokenizer");
  }

  private static long pair(int left, int right) {
    return (long) left << 32 | right;
  }

  private static int left(long pair) {
    return (int) (pair >>> 32);
  }

  private static int right(long pair) {
    return (int) pair;
  }

  /** Makes the vocabulary's end of a text a special token. */
  static void addEndOfText(ObjectNode file) {
    file.withArray("added_tokens")
        .add(
            TokenizerNodes.addedToken(
                file.path("model").path("vocab").path(TokenizerReader.END_OF_TEXT).intValue(),
                TokenizerReader.END_OF_TEXT,
                true));
  }
}
