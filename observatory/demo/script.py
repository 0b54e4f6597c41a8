"""What the demo's people and models say: invented projects, each with a few small stories.

Nothing here is anybody's transcript. Everything that shows where a line belongs says that it is a demo: project names,
working directories, branches, ids.
"""

import attrs


@attrs.frozen
class Story:
    """One piece of work: what is asked, where the trouble is, how it is put right.

    `command` fails with `failure` before the edit and says `passed` after it.
    """

    title: str
    prompt: str
    plan: str
    pattern: str
    file: str
    found: str
    command: str
    failure: str
    cause: str
    old: str
    new: str
    passed: str
    done: str


@attrs.frozen
class Project:
    """A working directory and the work that is done there. `build` is its slow command."""

    name: str
    build: str
    built: tuple[str, ...]
    areas: tuple[tuple[str, str], ...]  # for sub-agents: what to look into, and what they find
    stories: tuple[Story, ...]

    @property
    def cwd(self) -> str:
        """On a machine that does not exist."""
        return f"/demo/{self.name}"


SHOP = Project(
    "demo-shop",
    "make images",
    ("resizing 120 pictures", "resizing 80 pictures", "resizing 40 pictures", "writing the catalogue"),
    (
        ("How prices are rounded", "Prices are rounded in three places: cart.py, invoice.py and the export."),
        ("Where discounts are applied", "Discounts are applied in cart.py only; coupons.py just looks them up."),
        ("How the tests build a cart", "Every test builds its cart by hand; a fixture would save about 40 lines."),
    ),
    (
        Story(
            "Cart total counts the discount twice",
            "The cart total is wrong when a coupon is used. Can you find out why?",
            "I'll run the cart tests first, then look at how the discount is applied.",
            "discount",
            "shop/cart.py",
            "41:    total = subtotal - discount\n58:    return total - discount",
            "pytest tests/test_cart.py -q",
            "FAILED tests/test_cart.py::test_coupon - assert 80 == 90\n1 failed, 6 passed in 0.41s",
            "The discount is subtracted twice: once for the total, once more on the way out.",
            "    return total - discount",
            "    return total",
            "7 passed in 0.38s",
            "The coupon is now subtracted once. All cart tests pass.",
        ),
        Story(
            "Order mail without a greeting",
            "Customers without a first name get a mail that starts with 'Hello ,'. Please fix the template.",
            "Let me see how the template fills in the name.",
            "Hello",
            "shop/mail.py",
            "12:    text = f'Hello {order.first_name},'",
            "pytest tests/test_mail.py -q",
            "FAILED tests/test_mail.py::test_no_name - assert 'Hello ,' == 'Hello,'\n1 failed, 3 passed in 0.22s",
            "The name is put in even when it is empty.",
            "    text = f'Hello {order.first_name},'",
            "    text = f'Hello {order.first_name},' if order.first_name else 'Hello,'",
            "4 passed in 0.21s",
            "Without a name the mail now starts with 'Hello,'.",
        ),
        Story(
            "Stock goes below zero",
            "Two orders at the same moment can sell the last teapot twice. Make that impossible.",
            "I'll look at where the stock is reduced and whether that is one step.",
            "stock",
            "shop/stock.py",
            "23:    item.stock -= count",
            "pytest tests/test_stock.py -q",
            "FAILED tests/test_stock.py::test_last_one - assert -1 == 0\n1 failed, 4 passed in 0.63s",
            "The stock is read, then written: another order can come in between.",
            "    item.stock -= count",
            "    db.update(item, stock=F('stock') - count, where=F('stock') >= count)",
            "5 passed in 0.60s",
            "Reducing the stock is now one conditional update; the second order is refused.",
        ),
    ),
)

BLOG = Project(
    "demo-blog",
    "npm run build",
    ("bundling 12 modules", "rendering 48 posts", "writing the feed", "compressing"),
    (
        ("Which pages load slowly", "The archive page loads every picture at once; the others are fine."),
        ("How tags are stored", "Tags are plain strings in the front matter, split in two places."),
    ),
    (
        Story(
            "Feed shows drafts",
            "Our feed contains posts that are still drafts. They should stay hidden until they are published.",
            "I'll check how the feed chooses its posts.",
            "posts.filter",
            "src/feed.ts",
            "18: const items = posts.filter((post) => post.date <= now)",
            "npm test -- feed",
            "✗ hides drafts\n  expected 2 items, got 3\nTests: 1 failed, 5 passed",
            "The feed looks at the date, never at the draft flag.",
            "posts.filter((post) => post.date <= now)",
            "posts.filter((post) => !post.draft && post.date <= now)",
            "Tests: 6 passed",
            "Drafts no longer appear in the feed.",
        ),
        Story(
            "Dark mode flickers",
            "With dark mode the page is white for a moment when it loads. Can we avoid that?",
            "The theme is probably set too late; let me look at where that happens.",
            "dataset.theme",
            "src/theme.ts",
            "7: window.addEventListener('load', () => { root.dataset.theme = saved })",
            "npm test -- theme",
            "✗ sets the theme before the first paint\nTests: 1 failed, 2 passed",
            "The theme is set on load, after the first paint.",
            "window.addEventListener('load', () => { root.dataset.theme = saved })",
            "root.dataset.theme = saved",
            "Tests: 3 passed",
            "The theme is set before anything is painted.",
        ),
        Story(
            "Broken links in old posts",
            "Some links in posts from before the move lead nowhere. Find them and write a redirect for each.",
            "I'll list the links first and see which have no page.",
            "/archive/",
            "src/redirects.ts",
            "3: export const redirects = { '/archive/tea': '/posts/tea' }",
            "npm test -- links",
            "✗ every link has a page\n  /archive/kettle\nTests: 1 failed, 8 passed",
            "One old address was never added to the redirects.",
            "{ '/archive/tea': '/posts/tea' }",
            "{ '/archive/tea': '/posts/tea', '/archive/kettle': '/posts/kettle' }",
            "Tests: 9 passed",
            "Every link in the old posts leads somewhere again.",
        ),
    ),
)

ROBOT = Project(
    "demo-robot",
    "cargo build --release",
    ("Compiling motor v0.3.0", "Compiling camera v0.1.2", "Compiling robot v0.5.0", "Finished in 9.1s"),
    (
        ("How the motors are stopped", "Every path ends in motor::halt, except the one after a lost signal."),
        ("Where distances are measured", "Distances are in centimetres in sensor.rs and in metres everywhere else."),
        ("What happens when the battery is low", "It beeps and goes on; nothing slows it down."),
    ),
    (
        Story(
            "Robot turns too far",
            "The robot turns about ten degrees too far to the left. Where does that come from?",
            "I'll look at how an angle becomes motor steps.",
            "steps_for",
            "src/motor.rs",
            "31: fn steps_for(angle: f32) -> i32 { (angle * 5.0) as i32 }",
            "cargo test turn",
            "test turn_left_90 ... FAILED\nassertion failed: left: 450, right: 400\n1 failed; 11 passed",
            "The factor is that of the old gearbox: 5.0 instead of 4.444.",
            "(angle * 5.0) as i32",
            "(angle * STEPS_PER_DEGREE).round() as i32",
            "12 passed; 0 failed",
            "A left turn of 90 degrees is 400 steps again, and the factor has a name.",
        ),
        Story(
            "Lost signal keeps it driving",
            "If the radio signal is lost, the robot must stop. It keeps driving.",
            "Safety first: let me find out what happens when no command arrives.",
            "recv_timeout",
            "src/radio.rs",
            "54: match radio.recv_timeout(LIMIT) { Err(Timeout) => continue,",
            "cargo test radio",
            "test stops_without_signal ... FAILED\n1 failed; 6 passed",
            "A missing command is treated as no change, so the last speed stays.",
            "Err(Timeout) => continue,",
            "Err(Timeout) => motor.halt(),",
            "7 passed; 0 failed",
            "Without a signal the motors are halted after 200 ms.",
        ),
    ),
)

PROJECTS = (SHOP, BLOG, ROBOT)
QUESTION = "Shall I also add a test for this?"
CHOICES = ("Yes, a small one", "No, leave it")
FOLLOW_UPS = ("Thanks. Please add a test for it.", "Good. Is there anything similar elsewhere?", "Great, commit it.")
ANOTHER_WAY = "Let me try another way from here: is there a smaller change?"
