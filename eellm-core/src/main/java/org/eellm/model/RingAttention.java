package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyStarts;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * Softmax attention of sequences that ranks share (ring attention, arXiv 2310.01889): keys and
 * values go from rank to rank while each attends to those that are with it, and what a query has
 * found so far is merged with what it finds next by maximum and sum, in float32. Going back they go
 * round again, with the sums of their gradients behind them. Each rank sends on what it has while
 * it works on it.
 *
 * <p>Shapes: b sequences, s tokens of each here, K key/value heads, G query heads a group, D head
 * dimension, r queries of a piece, e keys that they see.
 */
final class RingAttention {
  /** Of a key that is not seen. It is finite: a query may see none of a rank's keys. */
  private static final double HIDDEN = -1e30;

  private static final int KEYS = 0;
  private static final int GRADIENTS = 1;
  private static final long[] LAST = {-1};

  private final ForwardContext context;
  private final Communicator group;
  private final Attention attention;
  private final SoftCap cap;
  private final KeyStarts starts;
  private final long site;

  /**
   * As of {@link CausalAttention}.
   *
   * @param starts with the attention's window
   */
  RingAttention(ForwardContext context, Attention attention, KeyStarts starts, long site) {
    this.context = context;
    this.starts = starts;
    this.group = context.ring().group();
    this.attention = attention;
    this.cap = new SoftCap(attention.softcap());
    this.site = site;
  }

  /**
   * Queries that are here, and those keys of a block that is here that some of them see.
   *
   * @param queries among those of this rank
   * @param position of the first query in the sequence
   * @param key the first key's place among the s that are here
   * @param keys e
   * @param keyPosition of the first key in the sequence
   */
  private record Pair(
      CausalAttention.Block queries, long position, long key, long keys, long keyPosition) {

    /** The part of keys, values or their gradients, [b K, s, D]. */
    Tensor seen(Tensor x) {
      return x.narrow(1, key, keys);
    }

    boolean hasLaterKeys() {
      return keyPosition + keys > position + 1;
    }

    /** Whether the first query, which looks furthest back, sees the last key. */
    boolean meetsWithin(int window) {
      return keyPosition + keys > position - window + 1;
    }
  }

  /** The pairs of this rank's queries with the keys of {@code owner}. */
  private List<Pair> pairs(int owner) {
    ContextParallel ring = context.ring();
    long length = context.sequence() / 2;
    List<Pair> pairs = new ArrayList<>();
    for (int half = 0; half < 2; half++) {
      long mine = ring.block(group.rank(), half);
      for (int other = 0; other < 2; other++) {
        long theirs = ring.block(owner, other);
        if (theirs > mine) {
          continue; // all of them are later
        }
        for (CausalAttention.Block piece : CausalAttention.blocks(length, Integer.MAX_VALUE)) {
          Pair pair =
              new Pair(
                  piece.after(half * length),
                  mine * length + piece.start(),
                  other * length,
                  theirs == mine ? piece.end() : length,
                  theirs * length);
          if (pair.meetsWithin(attention.window())) {
            pairs.add(pair);
          }
        }
      }
    }
    return pairs;
  }

  /**
   * Attends: see {@link CausalAttention#forward}.
   *
   * @return what the backward pass needs: the logarithm of each query's sum of exponentials,
   *     float32 [b, K, G, s, 1], and {@code out}
   */
  List<Tensor> forward(Tensor query, Tensor key, Tensor value, Tensor out) {
    try (Scope scope = Scope.open()) {
      Tensor mixed = zeros(query, query.size(4));
      Tensor logSum = zeros(query, 1).fill_(new Scalar(Double.NEGATIVE_INFINITY));
      goRound(
          key,
          value,
          (owner, here) -> pairs(owner).forEach(pair -> attend(pair, query, here, mixed, logSum)));
      out.copy_(mixed);
      return List.of(scope.moveToOuter(logSum), out);
    }
  }

  private void attend(Pair pair, Tensor query, Tensor here, Tensor mixed, Tensor logSum) {
    try (Scope _ = Scope.open()) {
      Tensor scores = masked(scores(pair, query, here.select(0, 0)), pair);
      Tensor max = scores.amax(LAST, true); // [b K, G r, 1]
      Tensor exponentials = scores.sub_(max).exp_();
      Tensor log = Reductions.sumLast(exponentials).log_().add_(max);
      Tensor kept =
          dropout(exponentials, pair)
              .map(drop -> drop.of(matrix(exponentials)).view(exponentials.sizes()))
              .orElse(exponentials);
      Tensor found = torch.bmm(kept.to(query.scalar_type()), pair.seen(here.select(0, 1)));
      Tensor before = pair.queries().part(logSum); // [b, K, G, r, 1]
      Tensor now = torch.logaddexp(before, log.view(before.sizes()));
      Tensor sum = pair.queries().part(mixed);
      sum.mul_(before.sub(now).exp_());
      sum.addcmul_(
          found.to(ScalarType.Float).view(sum.sizes()), max.view(before.sizes()).sub(now).exp_());
      before.copy_(now);
    }
  }

  /** Scores before they are masked, float32 [b K, G r, e]. */
  private Tensor scores(Pair pair, Tensor query, Tensor key) {
    try (Scope scope = Scope.open()) {
      Tensor products = torch.bmm(pair.queries().rows(query), pair.seen(key).transpose(1, 2));
      return scope.moveToOuter(cap.applyTo(products.to(ScalarType.Float)));
    }
  }

  /** Hides the scores of keys that a query does not see, in place. */
  private Tensor masked(Tensor scores, Pair pair) {
    try (Scope _ = Scope.open()) {
      long r = pair.queries().length();
      Tensor keys = positions(pair.keyPosition(), pair.keys(), scores);
      if (pair.hasLaterKeys()) {
        Tensor later = keys.gt(positions(pair.position(), r, scores).view(r, 1));
        scores.view(-1, r, pair.keys()).masked_fill_(later, new Scalar(HIDDEN));
      }
      if (starts instanceof KeyStarts.OfTokens(Tensor all)) {
        Tensor first = all.narrow(1, pair.queries().start(), r).unsqueeze(2); // [b or 1, r, 1]
        scores
            .view(context.batch(), -1, r, pair.keys())
            .masked_fill_(keys.lt(first).unsqueeze(1), new Scalar(HIDDEN));
      }
      return scores;
    }
  }

  private static Tensor positions(long first, long count, Tensor where) {
    return torch.arange(
        new Scalar(first),
        new Scalar(first + count),
        Torch.options(ScalarType.Long, where.device()));
  }

  /** The gradients: see {@link CausalAttention#backward}. */
  CausalAttention.Result backward(
      Tensor query, Tensor key, Tensor value, List<Tensor> saved, Tensor gradient) {
    try (Scope scope = Scope.open()) {
      Tensor wide = gradient.to(ScalarType.Float);
      Backward backward =
          new Backward(
              query, gradient, saved.getFirst(), Reductions.sumLast(wide.mul(saved.getLast())));
      goRound(key, value, backward);
      Tensor sums = backward.arrived();
      ScalarType type = Tensors.scalarType(query);
      return new CausalAttention.Result(
          scope.moveToOuter(backward.gQuery.to(type)),
          scope.moveToOuter(sums.select(0, 0).to(type)),
          scope.moveToOuter(sums.select(0, 1).to(type)));
    }
  }

  /** The gradients' way round: those of the keys and values that are here follow them. */
  private final class Backward implements Visit {
    private final Tensor query;
    private final Tensor gradient; // [b, K, G, s, D]
    private final Tensor logSum; // [b, K, G, s, 1]
    private final Tensor inner; // of the output and its gradient, float32 [b, K, G, s, 1]
    private final Tensor gQuery; // float32
    private final Tensor own; // gradients of the keys and values here, float32 [2, b K, s, D]
    private Tensor sums; // the same, of all ranks where they have been
    private Tensor arriving;
    private Optional<WorkHandle> pending = Optional.empty();

    Backward(Tensor query, Tensor gradient, Tensor logSum, Tensor inner) {
      this.query = query;
      this.gradient = gradient;
      this.logSum = logSum;
      this.inner = inner;
      gQuery = zeros(query, query.size(4));
      own =
          Tensors.zeros(
              ScalarType.Float,
              query.device(),
              2,
              query.size(0) * query.size(1),
              query.size(3),
              query.size(4));
      sums = own.clone();
      arriving = own.clone();
    }

    @Override
    public void at(int owner, Tensor here) {
      own.zero_();
      pairs(owner).forEach(pair -> add(pair, here));
      Tensor sum = arrived().add_(own);
      pending = Optional.of(shift(sum, arriving, GRADIENTS));
    }

    /** The sums that have arrived, and those of this rank's own keys and values at the end. */
    Tensor arrived() {
      if (pending.isPresent()) {
        pending.get().await();
        Tensor sent = sums;
        sums = arriving;
        arriving = sent;
      }
      return sums;
    }

    private void add(Pair pair, Tensor here) {
      try (Scope _ = Scope.open()) {
        CausalAttention.Block queries = pair.queries();
        Tensor key = pair.seen(here.select(0, 0));
        Tensor value = pair.seen(here.select(0, 1));
        Tensor scores = scores(pair, query, here.select(0, 0));
        Optional<Tensor> slope = cap.isActive() ? Optional.of(cap.slope(scores)) : Optional.empty();
        Tensor p = masked(scores, pair).sub_(queries.rows(logSum)).exp_();
        Optional<KeyedDropout> drop = dropout(p, pair);
        Tensor kept = drop.map(each -> each.of(matrix(p)).view(p.sizes())).orElse(p);
        Tensor g = queries.rows(gradient); // [b K, G r, D]
        pair.seen(own.select(0, 1))
            .add_(torch.bmm(kept.to(query.scalar_type()).transpose(1, 2), g));
        Tensor gP = torch.bmm(g, value.transpose(1, 2)).to(ScalarType.Float); // [b K, G r, e]
        drop.ifPresent(each -> each.applyTo(matrix(gP)));
        gP.sub_(queries.rows(inner)).mul_(p);
        slope.ifPresent(gP::mul_);
        Tensor gScores = gP.to(query.scalar_type());
        Tensor part = queries.part(gQuery);
        part.add_(torch.bmm(gScores, key).view(part.sizes()));
        pair.seen(own.select(0, 0)).add_(torch.bmm(gScores.transpose(1, 2), queries.rows(query)));
      }
    }
  }

  /** What a rank does with keys and values while they are there. */
  private interface Visit {
    /**
     * @param owner the rank that they come from
     * @param here keys and values, [2, b K, s, D]
     */
    void at(int owner, Tensor here);
  }

  /** Lets every rank's keys and values come here, this one's first. */
  private void goRound(Tensor key, Tensor value, Visit visit) {
    Tensor here = torch.stack(new TensorVector(key, value), 0);
    Tensor next = torch.empty_like(here);
    for (int step = 0; step < group.size(); step++) {
      Optional<WorkHandle> pending =
          step < group.size() - 1 ? Optional.of(shift(here, next, KEYS)) : Optional.empty();
      visit.at(Math.floorMod(group.rank() - step, group.size()), here);
      pending.ifPresent(WorkHandle::await);
      Tensor sent = here;
      here = next;
      next = sent;
    }
  }

  /**
   * Sends to the next rank, and receives from the one before. Of two ranks one receives first: NCCL
   * does what they have for each other in the order in which they start it.
   */
  private WorkHandle shift(Tensor tensor, Tensor into, int tag) {
    int next = (group.rank() + 1) % group.size();
    int before = Math.floorMod(group.rank() - 1, group.size());
    if (group.rank() % 2 == 0) {
      WorkHandle sent = group.send(tensor, next, tag);
      WorkHandle received = group.receive(into, before, tag);
      return both(sent, received);
    }
    WorkHandle received = group.receive(into, before, tag);
    return both(received, group.send(tensor, next, tag));
  }

  private static WorkHandle both(WorkHandle first, WorkHandle second) {
    return () -> {
      first.await();
      second.await();
    };
  }

  private Optional<KeyedDropout> dropout(Tensor x, Pair pair) {
    long r = pair.queries().length();
    return context.ofHeads(
        matrix(x).size(0) / r / context.batch(),
        new ForwardContext.Scores(pair.position(), r, pair.keyPosition()),
        attention.dropout(),
        site);
  }

  private static Tensor matrix(Tensor x) {
    return x.view(-1, x.size(2));
  }

  /** Float32 [b, K, G, s, width]. */
  private static Tensor zeros(Tensor query, long width) {
    return Tensors.zeros(
        ScalarType.Float,
        query.device(),
        query.size(0),
        query.size(1),
        query.size(2),
        query.size(3),
        width);
  }
}
