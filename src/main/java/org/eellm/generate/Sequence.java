package org.eellm.generate;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.generate.Result.FinishReason;
import org.eellm.generate.TokenListener.Reaction;
import org.eellm.model.Head;

/**
 * A text in the making: its tokens, its keys and values, and its hidden states that wait.
 *
 * <p>Positions complete the model from below. At each tap the positions that reached it are a
 * prefix of those that reached the one below; between the two lie the rows that are pending there.
 */
final class Sequence implements AutoCloseable {
  private final int index;
  private final Request request;
  private final List<Head> heads;
  private final Tokens tokens;
  private final SequenceCache cache;
  private final Map<Integer, PendingRows> pending = new HashMap<>(); // by tap
  private final Map<String, PendingRows> unseen = new HashMap<>(); // by name of the head
  private final SortedSet<Integer> taps = new TreeSet<>();
  private final List<GeneratedToken> generated = new ArrayList<>();
  private final List<Prediction> said = new ArrayList<>(); // of the token in the making
  private final long start = System.nanoTime();
  private long firstToken;
  private long lastToken;
  private int embedded;
  private boolean decided;
  private Optional<FinishReason> finish = Optional.empty();

  /**
   * @param index of its request
   * @param heads those its policy asks, in order of depth
   * @param format of the keys and values kept
   */
  Sequence(int index, Request request, List<Head> heads, ScalarType format) {
    this.index = index;
    this.request = request;
    this.heads = List.copyOf(heads);
    int maxLength = request.prompt().size() + request.maxTokens();
    tokens = new Tokens(request.prompt(), maxLength);
    cache = new SequenceCache(maxLength, format);
    heads.forEach(head -> taps.add(head.tap()));
  }

  int index() {
    return index;
  }

  Request request() {
    return request;
  }

  Tokens tokens() {
    return tokens;
  }

  SequenceCache cache() {
    return cache;
  }

  /** Number of trunk branches below each of its heads, ascending. */
  SortedSet<Integer> taps() {
    return taps;
  }

  /** The rows that wait at a tap of its own. */
  PendingRows pending(int tap) {
    return pending.computeIfAbsent(tap, absent -> new PendingRows());
  }

  /** The rows at the tap of a head with attention that this head has not seen. */
  PendingRows unseen(Head head) {
    return unseen.computeIfAbsent(head.name(), absent -> new PendingRows());
  }

  boolean uses(Head head) {
    return heads.contains(head);
  }

  /** Whether no further head is to be asked for this head's token. */
  boolean isLast(Head head) {
    return head.equals(heads.getLast());
  }

  /** Starts a token: the rows to be embedded, of the whole prompt at first, then of one token. */
  Span next() {
    said.clear();
    decided = false;
    Span span = new Span(this, embedded, tokens.size() - embedded);
    embedded = tokens.size();
    return span;
  }

  /** What was said of the token in the making, shallowest head first. */
  List<Prediction> said() {
    return said;
  }

  /** Whether the token in the making has left the model. */
  boolean decided() {
    return decided;
  }

  /** Ends a token. */
  void append(GeneratedToken token, TokenListener listener) {
    lastToken = System.nanoTime();
    if (generated.isEmpty()) {
      firstToken = lastToken;
    }
    tokens.append(token.id());
    generated.add(token);
    decided = true;
    Reaction reaction = listener.onToken(index, token);
    if (request.endTokens().contains(token.id())) {
      finish = Optional.of(FinishReason.END_TOKEN);
    } else if (reaction == Reaction.STOP) {
      finish = Optional.of(FinishReason.STOPPED);
    } else if (generated.size() == request.maxTokens()) {
      finish = Optional.of(FinishReason.LENGTH);
    }
  }

  boolean finished() {
    return finish.isPresent();
  }

  Result result() {
    return new Result(
        generated, finish.orElseThrow(), (firstToken - start) / 1e9, (lastToken - start) / 1e9);
  }

  @Override
  public void close() {
    cache.close();
    pending.values().forEach(PendingRows::close);
    unseen.values().forEach(PendingRows::close);
  }
}
