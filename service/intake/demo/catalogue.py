"""What the demo shop sells: 120 tea, snack, home, care and pet products in two languages."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Product:
    """Describe one product of the demo shop; `price` in whole dollars, `lasts_days` 0 for a durable."""

    sku: str
    zh: str
    en: str
    kind: str
    price: int
    lasts_days: int
    themes: str
    appeal: int
    season: str = ""

    @property
    def category(self) -> str:
        """Name the shelf the product stands on."""
        return CATEGORIES[self.sku[:3]]


CATEGORIES: Final = {
    "TEA": "tea",
    "COF": "coffee",
    "SNK": "snacks",
    "PAN": "pantry",
    "CAR": "personal-care",
    "HOM": "home",
    "PET": "pet",
    "GFT": "gifts",
}

P = Product
LNY, MID, MUM = "lunar_new_year", "mid_autumn", "mothers_day"
HOT, COLD = "summer", "winter"

_TEA = (
    P("TEA-001", "阿里山高山烏龍茶 150g", "Alishan High Mountain Oolong 150 g", "oolong", 680, 45, "tea", 10),
    P("TEA-002", "凍頂烏龍茶 150g", "Dongding Oolong 150 g", "oolong", 520, 45, "tea", 9),
    P("TEA-003", "杉林溪烏龍茶 75g", "Shanlinxi Oolong 75 g", "oolong", 450, 30, "tea", 6),
    P("TEA-004", "東方美人茶 75g", "Oriental Beauty 75 g", "oolong", 980, 60, "tea", 4),
    P("TEA-005", "木柵鐵觀音 150g", "Muzha Tieguanyin 150 g", "oolong", 560, 45, "tea", 5),
    P("TEA-006", "文山包種茶 150g", "Wenshan Pouchong 150 g", "oolong", 480, 45, "tea", 6),
    P("TEA-007", "日月潭紅玉紅茶 75g", "Sun Moon Lake Ruby Black Tea 75 g", "black", 420, 40, "tea sweet", 8),
    P("TEA-008", "蜜香紅茶 立體茶包 20入", "Honey Black Tea Bags, 20", "black", 260, 25, "tea sweet", 8),
    P("TEA-009", "四季春茶包 30入", "Four Seasons Tea Bags, 30", "oolong", 299, 30, "tea", 9),
    P("TEA-010", "三峽碧螺春綠茶 100g", "Sanxia Biluochun Green Tea 100 g", "green", 380, 40, "tea", 4),
    P("TEA-011", "無咖啡因國寶茶 25入", "Caffeine-free Rooibos Bags, 25", "herbal", 240, 30, "tea skin", 3),
    P("TEA-012", "洛神花茶 100g", "Roselle Tea 100 g", "herbal", 180, 30, "tea sweet", 5, HOT),
    P("TEA-013", "黑糖薑母茶磚 10入", "Brown Sugar Ginger Blocks, 10", "herbal", 220, 25, "sweet", 6, COLD),
    P("TEA-014", "冷泡茶綜合包 24入", "Cold Brew Tea Assortment, 24", "cold-brew", 360, 25, "tea", 7, HOT),
    P("TEA-015", "陳年普洱茶餅 357g", "Aged Pu-erh Cake 357 g", "dark", 1680, 150, "tea", 2),
)
_COFFEE = (
    P("COF-001", "古坑咖啡豆 半磅", "Gukeng Coffee Beans 227 g", "beans", 480, 21, "coffee", 8),
    P("COF-002", "阿里山日曬豆 半磅", "Alishan Natural Coffee Beans 227 g", "beans", 620, 21, "coffee", 5),
    P("COF-003", "衣索比亞耶加雪菲 半磅", "Ethiopia Yirgacheffe 227 g", "beans", 420, 21, "coffee", 9),
    P("COF-004", "瓜地馬拉安提瓜 半磅", "Guatemala Antigua 227 g", "beans", 400, 21, "coffee", 6),
    P("COF-005", "義式綜合豆 一磅", "House Espresso Blend 454 g", "beans", 560, 28, "coffee", 9),
    P("COF-006", "低咖啡因哥倫比亞 半磅", "Colombia Decaf 227 g", "beans", 460, 28, "coffee", 3),
    P("COF-007", "濾掛咖啡綜合 20入", "Drip Bag Assortment, 20", "drip", 399, 20, "coffee sweet", 10),
    P("COF-008", "屏東濾掛咖啡 10入", "Pingtung Drip Bags, 10", "drip", 320, 14, "coffee", 5),
    P("COF-009", "冰滴咖啡 6瓶組", "Cold Drip Coffee, 6 bottles", "ready", 540, 14, "coffee", 5, HOT),
    P("COF-010", "燕麥奶 1L 6入", "Oat Milk 1 L, pack of 6", "milk", 540, 21, "coffee cook", 7),
    P("COF-011", "手沖濾紙 100入", "Pour-over Filters, 100", "gear", 120, 60, "coffee", 8),
    P("COF-012", "陶瓷濾杯 V型", "Ceramic V Dripper", "gear", 580, 0, "coffee", 4),
    P("COF-013", "細口手沖壺 600ml", "Gooseneck Kettle 600 ml", "gear", 1280, 0, "coffee", 3),
    P("COF-014", "手搖磨豆機", "Hand Grinder", "gear", 1680, 0, "coffee", 3),
    P("COF-015", "雙層玻璃杯 兩入", "Double-wall Glasses, set of 2", "gear", 460, 0, "coffee tea", 4),
)
_SNACKS = (
    P("SNK-001", "土鳳梨酥 10入", "Native Pineapple Cakes, 10", "pastry", 420, 20, "sweet gift", 10),
    P("SNK-002", "太陽餅 10入", "Sun Cakes, 10", "pastry", 320, 20, "sweet gift", 6),
    P("SNK-003", "手工牛軋糖 300g", "Handmade Nougat 300 g", "candy", 280, 20, "sweet", 8),
    P("SNK-004", "黑糖麻花捲 200g", "Brown Sugar Twists 200 g", "cracker", 120, 12, "sweet", 8),
    P("SNK-005", "海苔杏仁脆片 120g", "Seaweed Almond Crisps 120 g", "cracker", 150, 12, "savoury", 8),
    P("SNK-006", "愛文芒果乾 150g", "Irwin Mango, dried 150 g", "fruit", 220, 15, "sweet", 9),
    P("SNK-007", "情人果乾 120g", "Green Mango, dried 120 g", "fruit", 150, 15, "sweet", 6),
    P("SNK-008", "原味腰果 250g", "Plain Cashews 250 g", "nuts", 280, 20, "savoury", 8),
    P("SNK-009", "蜂蜜核桃 200g", "Honey Walnuts 200 g", "nuts", 320, 20, "sweet savoury", 6),
    P("SNK-010", "厚切豬肉乾 200g", "Thick Pork Jerky 200 g", "jerky", 260, 15, "savoury", 8),
    P("SNK-011", "澎湖小魚花生 150g", "Penghu Anchovy Peanuts 150 g", "nuts", 160, 12, "savoury", 6),
    P("SNK-012", "米香餅乾 8入", "Puffed Rice Crackers, 8", "cracker", 99, 12, "savoury sweet", 6),
    P("SNK-013", "蛋捲 鐵盒 400g", "Egg Rolls, tin 400 g", "pastry", 380, 30, "sweet gift", 7),
    P("SNK-014", "黑巧克力薄片 100g", "Dark Chocolate Thins 100 g", "candy", 240, 15, "sweet coffee", 6),
    P("SNK-015", "麻油薑味泡麵 5入", "Sesame Ginger Noodles, 5", "noodles", 165, 14, "savoury cook", 7, COLD),
)
_PANTRY = (
    P("PAN-001", "池上米 2kg", "Chishang Rice 2 kg", "rice", 260, 30, "cook", 9),
    P("PAN-002", "關廟麵 900g", "Guanmiao Sun-dried Noodles 900 g", "noodles", 120, 25, "cook", 7),
    P("PAN-003", "純釀黑豆醬油 420ml", "Black Bean Soy Sauce 420 ml", "sauce", 240, 60, "cook", 8),
    P("PAN-004", "冷壓黑麻油 500ml", "Black Sesame Oil 500 ml", "oil", 420, 75, "cook", 6, COLD),
    P("PAN-005", "苦茶油 500ml", "Camellia Seed Oil 500 ml", "oil", 880, 75, "cook skin", 4),
    P("PAN-006", "龍眼蜂蜜 700g", "Longan Honey 700 g", "honey", 520, 60, "cook sweet tea", 6),
    P("PAN-007", "手炒黑糖 500g", "Hand-stirred Brown Sugar 500 g", "sugar", 180, 50, "cook sweet", 5),
    P("PAN-008", "埔里香菇 150g", "Puli Dried Shiitake 150 g", "dried", 360, 60, "cook gift", 6),
    P("PAN-009", "澎湖干貝醬 220g", "Penghu Scallop XO Sauce 220 g", "sauce", 450, 45, "cook savoury", 6),
    P("PAN-010", "純素香辣脆椒醬 240g", "Vegan Chilli Crisp 240 g", "sauce", 220, 35, "cook savoury", 6),
    P("PAN-011", "有機燕麥片 1kg", "Organic Oats 1 kg", "cereal", 190, 25, "cook coffee", 7),
    P("PAN-012", "無糖豆漿粉 500g", "Unsweetened Soy Powder 500 g", "drink", 210, 25, "cook", 5),
    P("PAN-013", "鑄鐵鍋 24cm", "Cast-iron Pot 24 cm", "cookware", 3280, 0, "cook home", 2),
    P("PAN-014", "台灣檜木砧板", "Hinoki Chopping Board", "cookware", 980, 0, "cook home", 3),
    P("PAN-015", "不鏽鋼便當盒", "Stainless Lunch Box", "cookware", 560, 0, "cook home", 4),
)
_CARE = (
    P("CAR-001", "茶籽洗髮精 500ml", "Tea Seed Shampoo 500 ml", "hair", 380, 45, "body", 9),
    P("CAR-002", "茶籽護髮素 500ml", "Tea Seed Conditioner 500 ml", "hair", 380, 60, "body", 6),
    P("CAR-003", "檜木沐浴乳 700ml", "Hinoki Body Wash 700 ml", "body", 320, 45, "body", 8),
    P("CAR-004", "手工艾草皂 3入", "Handmade Mugwort Soap, 3", "body", 270, 40, "body skin", 6),
    P("CAR-005", "胺基酸洗面乳 120ml", "Amino Acid Cleanser 120 ml", "face", 350, 45, "skin", 8),
    P("CAR-006", "絲瓜水化妝水 300ml", "Loofah Water Toner 300 ml", "face", 290, 45, "skin", 7),
    P("CAR-007", "玻尿酸保濕精華 30ml", "Hyaluronic Serum 30 ml", "face", 880, 60, "skin", 6),
    P("CAR-008", "珍珠面膜 10片", "Pearl Sheet Masks, 10", "face", 399, 20, "skin", 9),
    P("CAR-009", "清爽防曬乳 SPF50 50ml", "Light Sunscreen SPF 50 50 ml", "face", 420, 40, "skin", 7, HOT),
    P("CAR-010", "山茶護手霜 60ml", "Camellia Hand Cream 60 ml", "body", 240, 45, "skin body gift", 6, COLD),
    P("CAR-011", "護唇膏 柚子", "Pomelo Lip Balm", "face", 150, 45, "skin", 5, COLD),
    P("CAR-012", "兒茶素牙膏 150g", "Catechin Toothpaste 150 g", "oral", 120, 35, "body", 8),
    P("CAR-013", "竹柄牙刷 4入", "Bamboo Toothbrushes, 4", "oral", 180, 90, "body", 5),
    P("CAR-014", "有機棉衛生棉 日用 20片", "Organic Cotton Pads, day, 20", "hygiene", 220, 28, "body", 7),
    P("CAR-015", "木梳 綠檀", "Sandalwood Comb", "hair", 450, 0, "body gift", 2),
)
_HOME = (
    P("HOM-001", "小蘇打洗衣精 2L", "Baking Soda Laundry Liquid 2 L", "laundry", 280, 35, "home", 9),
    P("HOM-002", "橘油洗碗精 1L", "Orange Oil Dish Soap 1 L", "kitchen", 160, 40, "home", 8),
    P("HOM-003", "檸檬酸去垢粉 600g", "Citric Acid Descaler 600 g", "cleaning", 99, 60, "home coffee", 5),
    P("HOM-004", "竹纖維衛生紙 48包", "Bamboo Tissues, 48 packs", "paper", 620, 45, "home", 7),
    P("HOM-005", "無漂白廚房紙巾 12捲", "Unbleached Kitchen Rolls, 12", "paper", 299, 45, "home", 6),
    P("HOM-006", "檜木線香 100支", "Hinoki Incense, 100", "scent", 320, 60, "home tea", 5),
    P("HOM-007", "大豆蠟燭 桂花 200g", "Osmanthus Soy Candle 200 g", "scent", 480, 60, "home gift", 5),
    P("HOM-008", "除濕劑 12入", "Moisture Absorbers, 12", "cleaning", 240, 50, "home", 6),
    P("HOM-009", "天然防蚊液 150ml", "Natural Mosquito Spray 150 ml", "outdoor", 260, 40, "home", 6, HOT),
    P("HOM-010", "紫砂茶壺 200ml", "Clay Teapot 200 ml", "teaware", 1880, 0, "tea home", 3),
    P("HOM-011", "陶瓷茶杯 6入", "Ceramic Tea Cups, set of 6", "teaware", 720, 0, "tea home", 4),
    P("HOM-012", "冷泡茶玻璃瓶 1L", "Cold Brew Bottle 1 L", "teaware", 390, 0, "tea", 5),
    P("HOM-013", "棉麻茶巾", "Linen Tea Cloth", "teaware", 160, 0, "tea home", 4),
    P("HOM-014", "客家花布靠墊", "Hakka Print Cushion", "decor", 680, 0, "home gift", 3),
    P("HOM-015", "羽絨冬被 雙人", "Down Quilt, double", "bedding", 4980, 0, "home", 1, COLD),
)
_PET = (
    P("PET-001", "貓糧 鮮雞 2kg", "Cat Kibble, chicken 2 kg", "cat", 680, 30, "cat", 9),
    P("PET-002", "貓糧 鮭魚 2kg", "Cat Kibble, salmon 2 kg", "cat", 720, 30, "cat", 7),
    P("PET-003", "貓主食罐 24入", "Cat Cans, 24", "cat", 960, 24, "cat", 8),
    P("PET-004", "貓肉泥條 40入", "Cat Purée Sticks, 40", "cat", 399, 20, "cat", 8),
    P("PET-005", "豆腐貓砂 7L 3包", "Tofu Litter 7 L, 3 bags", "cat", 540, 28, "cat", 9),
    P("PET-006", "貓抓板 瓦楞", "Corrugated Scratcher", "cat", 280, 90, "cat", 5),
    P("PET-007", "逗貓棒組", "Cat Teaser Set", "cat", 150, 0, "cat", 4),
    P("PET-008", "犬糧 羊肉 3kg", "Dog Kibble, lamb 3 kg", "dog", 980, 35, "dog", 8),
    P("PET-009", "犬糧 鴨肉 3kg", "Dog Kibble, duck 3 kg", "dog", 960, 35, "dog", 6),
    P("PET-010", "潔牙骨 30入", "Dental Chews, 30", "dog", 420, 30, "dog", 8),
    P("PET-011", "雞肉凍乾 120g", "Freeze-dried Chicken 120 g", "treats", 320, 20, "dog cat", 7),
    P("PET-012", "寵物尿布墊 100片", "Pet Pads, 100", "dog", 360, 30, "dog", 7),
    P("PET-013", "寵物燕麥沐浴乳 500ml", "Pet Oat Shampoo 500 ml", "care", 340, 75, "dog cat", 4),
    P("PET-014", "犬用胸背帶", "Dog Harness", "dog", 690, 0, "dog", 3),
    P("PET-015", "寵物飲水機", "Pet Fountain", "care", 1280, 0, "cat dog", 2),
)
_GIFTS = (
    P("GFT-001", "中秋廣式月餅禮盒 6入", "Cantonese Mooncakes, 6", "mooncake", 780, 0, "gift", 14, MID),
    P("GFT-002", "蛋黃酥禮盒 12入", "Yolk Pastries, 12", "mooncake", 720, 0, "gift sweet", 16, MID),
    P("GFT-003", "綠豆椪禮盒 8入", "Mung Bean Pastries, 8", "mooncake", 560, 0, "gift sweet", 10, MID),
    P("GFT-004", "月餅與茶禮盒", "Mooncake and Tea Box", "mooncake", 1280, 0, "gift tea", 8, MID),
    P("GFT-005", "麻豆文旦 5斤", "Madou Pomelos 3 kg", "pomelo", 620, 0, "gift", 9, MID),
    P("GFT-006", "新春堅果禮盒", "New Year Nut Box", "new-year", 880, 0, "gift savoury", 12, LNY),
    P("GFT-007", "新春鳳梨酥禮盒 20入", "Pineapple Cake Box, 20", "new-year", 780, 0, "gift sweet", 14, LNY),
    P("GFT-008", "年節高山茶禮盒", "New Year High Mountain Tea Box", "new-year", 1680, 0, "gift tea", 9, LNY),
    P("GFT-009", "開運年糕 紅豆", "Red Bean New Year Cake", "new-year", 320, 0, "gift sweet cook", 10, LNY),
    P("GFT-010", "烏魚子禮盒", "Mullet Roe Box", "new-year", 2480, 0, "gift savoury", 5, LNY),
    P("GFT-011", "母親節護膚禮盒", "Mother's Day Skin Box", "mothers-day", 1480, 0, "gift skin", 11, MUM),
    P("GFT-012", "母親節花茶禮盒", "Mother's Day Flower Tea Box", "mothers-day", 880, 0, "gift tea", 10, MUM),
    P("GFT-013", "經典茶點禮盒", "Classic Tea and Biscuit Box", "all-year", 980, 0, "gift tea sweet", 4),
    P("GFT-014", "咖啡職人禮盒", "Coffee Maker's Box", "all-year", 1580, 0, "gift coffee", 3),
    P("GFT-015", "客家花布包裝加購", "Hakka Print Gift Wrap", "all-year", 80, 0, "gift", 3),
)

PRODUCTS: Final[tuple[Product, ...]] = (
    *_TEA, *_COFFEE, *_SNACKS, *_PANTRY, *_CARE, *_HOME, *_PET, *_GIFTS,
)  # fmt: skip

# Gone from the shop today, still in old orders.
DISCONTINUED: Final = frozenset({"SNK-012", "HOM-013"})

# Bought together more often than taste alone would explain.
COMPANIONS: Final = {
    "TEA-001": "SNK-001",
    "TEA-002": "HOM-011",
    "TEA-007": "SNK-013",
    "TEA-014": "HOM-012",
    "COF-001": "COF-011",
    "COF-003": "COF-011",
    "COF-005": "COF-010",
    "COF-007": "SNK-014",
    "COF-012": "COF-013",
    "PAN-001": "PAN-003",
    "PAN-002": "PAN-010",
    "PAN-004": "SNK-015",
    "CAR-001": "CAR-002",
    "CAR-005": "CAR-006",
    "CAR-007": "CAR-008",
    "CAR-012": "CAR-013",
    "HOM-001": "HOM-002",
    "HOM-004": "HOM-005",
    "HOM-010": "HOM-011",
    "PET-001": "PET-005",
    "PET-002": "PET-005",
    "PET-003": "PET-004",
    "PET-008": "PET-010",
    "PET-009": "PET-012",
    "GFT-002": "GFT-005",
    "GFT-007": "GFT-015",
    "GFT-008": "GFT-015",
}
