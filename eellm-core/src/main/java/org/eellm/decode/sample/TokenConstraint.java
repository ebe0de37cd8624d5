package org.eellm.decode.sample;

import java.io.ByteArrayOutputStream;
import java.io.Serializable;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import org.eellm.config.SettingException;
import org.eellm.decode.token.Tokens;
import org.eellm.grammar.Grammar;
import org.eellm.grammar.Language;

/**
 * Holds a generated text to a {@link Grammar}: of the ids, those may be drawn that a text of it can
 * go on with, and ids that end the text where one may end. It is a part of the distribution that
 * tokens are drawn from, so drafts of exits and of the text are drawn under the same mask, and a
 * text with drafts is the text without.
 *
 * <p>Where one continuation is left of several bytes, its longest token is the only one that may be
 * drawn: such tokens are {@link #forced}, and no model needs to be asked for them.
 */
public final class TokenConstraint implements Serializable {
  /** Bytes of a continuation that are looked at. */
  private static final int AHEAD = 64;

  private final transient Rules rules;
  private final transient Set<Integer> endTokens;
  private final transient Language start;
  private transient int[] known = {}; // generated ids that were read
  private transient Language[] states = {}; // before each of them
  private transient int count; // of them

  /** A grammar over a vocabulary, for any number of texts: masks are kept by state. */
  static final class Rules {
    /** Masks that are kept; of a vocabulary of 152k, 19 KB each. */
    private static final int MOST_MASKS = 1024;

    private final Grammar grammar;
    private final TokenTree tree;
    private final Map<Language, Mask> masks =
        new LinkedHashMap<>(16, 0.75f, true) {
          @Override
          protected boolean removeEldestEntry(Map.Entry<Language, Mask> eldest) {
            return size() > MOST_MASKS;
          }
        };

    Rules(Grammar grammar, TokenTree tree) {
      this.grammar = grammar;
      this.tree = tree;
    }

    private Mask mask(Language state) {
      Language near = state.near(tree.longest());
      Mask mask = masks.get(near);
      if (mask == null) {
        mask = Mask.of(near, tree);
        masks.put(near, mask);
      }
      return mask;
    }
  }

  /**
   * What may come in a state.
   *
   * @param allowed ids, 64 to a number; none if there is an only one
   * @param only the one id, or -1
   */
  @SuppressWarnings("ArrayRecordComponent") // compared by nobody
  private record Mask(long[] allowed, int only, boolean mayEnd) {
    static Mask of(Language state, TokenTree tree) {
      int only = tree.longestPrefix(onlyContinuation(state));
      return new Mask(only < 0 ? tree.allowed(state) : new long[0], only, state.mayEnd());
    }

    boolean allows(int id) {
      return only < 0 ? (allowed[id >> 6] >>> id & 1) != 0 : id == only;
    }

    /** Whether nothing may come but the end. */
    boolean ends() {
      return only < 0 && Arrays.stream(allowed).allMatch(word -> word == 0);
    }
  }

  private static byte[] onlyContinuation(Language state) {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    Language rest = state;
    while (text.size() < AHEAD && rest.onlyByte() >= 0) {
      int next = rest.onlyByte();
      text.write(next);
      rest = rest.after((byte) next);
    }
    return text.toByteArray();
  }

  /**
   * For one text.
   *
   * @param endTokens ids that end it, at least one
   */
  TokenConstraint(Rules rules, Set<Integer> endTokens) {
    if (endTokens.isEmpty()) {
      throw new SettingException("grammar", "needs a token that ends the text; give an end token");
    }
    this.rules = rules;
    this.endTokens = Set.copyOf(endTokens);
    start = rules.grammar.start();
  }

  /** The id that has to come next, if there is one that needs no model. */
  public OptionalInt forced(Tokens tokens) {
    synchronized (rules.grammar) {
      Mask mask = mask(tokens);
      return mask.only() >= 0 ? OptionalInt.of(mask.only()) : OptionalInt.empty();
    }
  }

  /** Rules out ids. Where none is left that a head was asked for, one that is allowed. */
  void apply(float[] logits, Tokens tokens) {
    synchronized (rules.grammar) {
      Mask mask = mask(tokens);
      boolean ends = mask.mayEnd() || mask.ends();
      int most = Math.min(logits.length, rules.tree.size());
      boolean finite = false;
      for (int id = 0; id < logits.length; id++) {
        boolean allowed = id < most && mask.allows(id) || ends && endTokens.contains(id);
        if (!allowed) {
          logits[id] = Float.NEGATIVE_INFINITY;
        }
        finite |= logits[id] > Float.NEGATIVE_INFINITY;
      }
      if (!finite) {
        logits[any(mask, most)] = 0;
      }
    }
  }

  private int any(Mask mask, int most) {
    for (int id = 0; id < most; id++) {
      if (mask.allows(id)) {
        return id;
      }
    }
    return endTokens.iterator().next();
  }

  private Mask mask(Tokens tokens) {
    return rules.mask(state(tokens));
  }

  /** What may follow the generated tokens; what was read of them before is not read again. */
  private Language state(Tokens tokens) {
    int[] ids = tokens.ids(tokens.promptSize(), tokens.size());
    int same = Arrays.mismatch(ids, 0, ids.length, known, 0, count);
    int read = same < 0 ? ids.length : Math.min(same, count);
    if (states.length <= ids.length) {
      states = Arrays.copyOf(states, 2 * ids.length + 16);
    }
    states[0] = start;
    for (; read < ids.length; read++) {
      states[read + 1] = states[read].after(rules.tree.bytes(ids[read]));
    }
    known = ids;
    count = ids.length;
    return states[ids.length];
  }

  /** Ranks that share a model out would each need the vocabulary. */
  private Object writeReplace() {
    throw new SettingException(
        "grammar", "is offered by models that one process has; leave --tp and --pp out");
  }
}
