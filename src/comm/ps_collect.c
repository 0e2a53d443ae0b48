/* A left sibling's buffer takes the sum, so a tree of W workers needs no memory but theirs. Where the left one is only
 * lent, the right one's does: an addition of two does not care. */
#include "comm/ps_collect.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/vector.h"

void dl_ps_collect_init(dl_ps_collect *collect, size_t count, void (*release)(void *owner)) {
  *collect = (dl_ps_collect){.count = count, .release = release};
}

static void let_go(const dl_ps_collect *collect, void *owner) {
  if (owner && collect->release) collect->release(owner);
}

void dl_ps_collect_begin(dl_ps_collect *collect, int64_t leaves) {
  for (int i = 0; i < collect->n_waiting; i++) let_go(collect, collect->waiting[i].owner);
  collect->n_waiting = collect->n_seen = 0;
  collect->leaves = leaves;
}

void dl_ps_collect_clear(dl_ps_collect *collect) {
  dl_ps_collect_begin(collect, 0);
  free(collect->waiting);
  free(collect->seen);
  collect->waiting = NULL;
  collect->seen = NULL;
  collect->room = 0;
}

bool dl_ps_node_leaves(dl_tree_node node, int64_t leaves, int64_t *begin, int64_t *end) {
  if (node.level < 0 || node.level > 40 || node.index < 0 || node.index > leaves) return false;
  *begin = node.index << node.level;
  *end = *begin + ((int64_t)1 << node.level);
  if (*end > leaves) *end = leaves;
  return *begin < leaves;
}

static dl_ps_added look_up(const dl_ps_collect *collect, dl_tree_node node) {
  int64_t begin, end, b = 0, e = 0;
  if (!dl_ps_node_leaves(node, collect->leaves, &begin, &end)) return DL_PS_NOT_A_NODE;
  for (int i = 0; i < collect->n_seen; i++) {
    if (dl_tree_node_is(collect->seen[i], node)) return DL_PS_TWICE;
    dl_ps_node_leaves(collect->seen[i], collect->leaves, &b, &e);
    if (begin < e && b < end) return DL_PS_NOT_A_NODE;
  }
  return DL_PS_ADDED;
}

static bool make_room(dl_ps_collect *collect) {
  if (collect->n_seen < collect->room) return true;
  int room = collect->room ? 2 * collect->room : 16;
  dl_tree_node *seen = dl_reallocarray(collect->seen, (size_t)room, sizeof *seen);
  if (seen) collect->seen = seen;
  dl_ps_sum *waiting = seen ? dl_reallocarray(collect->waiting, (size_t)room, sizeof *waiting) : NULL;
  if (!waiting) return false;
  collect->waiting = waiting;
  collect->room = room;
  return true;
}

/* To where a node without a right sibling stands in its parent's place. */
static dl_tree_node rise(dl_tree_node node, int64_t leaves) {
  while (node.index > 0 && !(node.index & 1) && (node.index + 1) << node.level >= leaves) {
    node.level++;
    node.index >>= 1;
  }
  return node;
}

static int find_sibling(const dl_ps_collect *collect, dl_tree_node node) {
  node.index ^= 1;
  for (int i = 0; i < collect->n_waiting; i++)
    if (dl_tree_node_is(collect->waiting[i].node, node)) return i;
  return -1;
}

/* The sum of two siblings is their parent, in the memory of one of them. */
static dl_ps_sum join(const dl_ps_collect *collect, const dl_ps_sum *a, const dl_ps_sum *b) {
  const bool a_left = !(a->node.index & 1);
  const dl_ps_sum *left = a_left ? a : b, *right = a_left ? b : a, *other = left->borrowed ? left : right;
  dl_ps_sum sum = left->borrowed ? *right : *left;
  if (collect->count) dl_vector()->add(sum.values, other->values, collect->count);
  if (collect->half && collect->count) collect->half->round(sum.values, collect->count);
  for (int k = 0; k < DL_LEAF_SUMS; k++) sum.sums[k] = left->sums[k] + right->sums[k];
  let_go(collect, other->owner);
  sum.node = (dl_tree_node){left->node.level + 1, left->node.index >> 1};
  return sum;
}

bool dl_ps_collect_own(dl_ps_collect *collect, const void *lender) {
  for (int i = 0; i < collect->n_waiting; i++) {
    dl_ps_sum *sum = &collect->waiting[i];
    if (sum->borrowed && sum->lender == lender && !collect->keep(collect->context, sum)) return false;
  }
  return true;
}

/* Adds what can be added, until `now` has to wait. */
static bool climb(dl_ps_collect *collect, dl_ps_sum *now, bool last) {
  for (;;) {
    now->node = rise(now->node, collect->leaves);
    int sibling = last ? -1 : find_sibling(collect, now->node);
    if (sibling < 0) break;
    if (now->borrowed && collect->waiting[sibling].borrowed && !collect->keep(collect->context, now)) return false;
    *now = join(collect, now, &collect->waiting[sibling]);
    collect->waiting[sibling] = collect->waiting[--collect->n_waiting];
  }
  return !now->borrowed || now->lender || collect->keep(collect->context, now);
}

dl_ps_added dl_ps_collect_add(dl_ps_collect *collect, const dl_ps_sum *sum) {
  int64_t begin, end;
  dl_ps_added known = look_up(collect, sum->node);
  if (known != DL_PS_ADDED) return known;
  dl_ps_node_leaves(sum->node, collect->leaves, &begin, &end);
  dl_ps_sum now = *sum;
  if (!make_room(collect) || !climb(collect, &now, dl_ps_collect_missing(collect) == end - begin)) return DL_PS_NO_ROOM;
  collect->waiting[collect->n_waiting++] = now;
  collect->seen[collect->n_seen++] = sum->node;
  return DL_PS_ADDED;
}

int64_t dl_ps_collect_missing(const dl_ps_collect *collect) {
  int64_t missing = collect->leaves, begin, end;
  for (int i = 0; i < collect->n_seen; i++)
    if (dl_ps_node_leaves(collect->seen[i], collect->leaves, &begin, &end)) missing -= end - begin;
  return missing;
}

/* By their first leaves. */
static void sort_waiting(dl_ps_collect *collect) {
  for (int i = 1; i < collect->n_waiting; i++) {
    dl_ps_sum sum = collect->waiting[i];
    int k = i;
    for (; k && collect->waiting[k - 1].node.index << collect->waiting[k - 1].node.level > sum.node.index
                                                                                               << sum.node.level;
         k--)
      collect->waiting[k] = collect->waiting[k - 1];
    collect->waiting[k] = sum;
  }
}

int dl_ps_collect_plan(dl_ps_collect *collect, int merges[DL_PS_COLLECT_MOST]) {
  dl_tree_stack stack;
  if (collect->n_waiting > DL_PS_COLLECT_MOST || dl_ps_collect_missing(collect)) return 0;
  sort_waiting(collect);
  dl_tree_stack_reset(&stack, collect->leaves);
  for (int i = 0; i < collect->n_waiting; i++) merges[i] = dl_tree_stack_push(&stack, collect->waiting[i].node);
  return stack.depth == 1 ? collect->n_waiting : 0;
}

bool dl_ps_collect_sums(dl_ps_collect *collect, double sums[DL_LEAF_SUMS]) {
  int merges[DL_PS_COLLECT_MOST], depth = 0;
  double stack[DL_PS_COLLECT_MOST][DL_LEAF_SUMS];
  const int n = dl_ps_collect_plan(collect, merges);
  for (int i = 0; i < n; i++) {
    memcpy(stack[depth++], collect->waiting[i].sums, sizeof *stack);
    for (int m = 0; m < merges[i]; m++, depth--)
      for (int k = 0; k < DL_LEAF_SUMS; k++) stack[depth - 2][k] += stack[depth - 1][k];
  }
  if (n) memcpy(sums, stack[0], sizeof *stack);
  return n > 0;
}
